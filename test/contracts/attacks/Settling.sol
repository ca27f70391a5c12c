// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {World} from "../World.sol";

/// @dev A verdict that is committed to and waits to be brought in, as the transaction that does it.
abstract contract Settling is World {
    function settling(bytes32 batchId, Said[] memory said, IBatches.Opening[] memory openings)
        internal
        returns (bytes memory)
    {
        castAll(batchId, said);
        return abi.encodeCall(batches.settle, (batchId, committedOf(batchId), opened(batchId, said), openings));
    }

    function settling(bytes32 batchId, bytes32 verdicts) internal returns (bytes memory) {
        return settling(batchId, quorumVotes(batchId, verdicts), new IBatches.Opening[](0));
    }

    function call(address by, bytes memory data) internal {
        vm.prank(by);
        (bool ok, bytes memory err) = address(batches).call(data);
        if (ok) return;
        assembly {
            revert(add(err, 32), mload(err))
        }
    }

    /// @dev A canary of the provider's that a whole committee has paid.
    function paidCanary(bytes32 salt) internal returns (bytes32 batchId, address[] memory voters) {
        batchId = batches.batchIdOf(provider, "canary");
        bytes32 seal = canaries.sealOf(batchId, salt);
        token.transfer(provider, 10 ether);
        vm.prank(provider);
        token.approve(address(canaries), 10 ether);
        vm.prank(provider);
        canaries.bury(seal, 10 ether);
        mine(1);
        anchor("canary", ranges(10 ether));
        trace(batchId, canaries.trapOf(batchId, salt));
        commit(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        voters = batches.committee(batchId);
        settle(batchId, VALID);
    }
}
