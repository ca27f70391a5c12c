// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IVotes} from "../../../protocol/contracts/interfaces/IVotes.sol";
import {World} from "../World.sol";

/// @dev A quorum of a small committee is a consumer's, and says that its honest provider was off tolerance: the batch is paid, so there is nothing to
/// appeal, the chain cannot refute it, and the consumer has its fees back.
contract FirstCommitteesTest is World {
    bytes32 private constant OFF = 0x0202020200000000000000000000000000000000000000000000000000000000;
    bytes32 private constant RECEIPT = keccak256("receipt");
    uint128 private constant FEE = 10 ether;
    bytes32 private batchId;

    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        batchId = anchor(keccak256(abi.encodePacked(hex"00", RECEIPT, FEE)), ranges(FEE));
        toCommittee(batchId);
    }

    function openings() private pure returns (IBatches.Opening[] memory list) {
        list = new IBatches.Opening[](1);
        (list[0].price, list[0].receiptHash) = (FEE, RECEIPT);
    }

    /// @dev What `count` members say, once nobody can commit any more.
    function saying(bytes32 verdicts, uint256 count) private returns (bytes memory) {
        address[] memory members = batches.committee(batchId);
        Said[] memory said = new Said[](count);
        for (uint256 i = 0; i < count; i++) said[i] = vote(keyOf(members[i]), verdicts);
        cast(batchId, said);
        skip(COMMIT_WINDOW + 11);
        IBatches.Opening[] memory shown = verdicts == OFF ? openings() : new IBatches.Opening[](0);
        return abi.encodeCall(batches.settle, (batchId, committedOf(batchId), opened(batchId, said), shown));
    }

    function settles(bytes memory call) private returns (bool ok, bytes memory why) {
        (ok, why) = address(batches).call(call);
    }

    function test_aQuorumOfAFirstCommitteeTakesNoPay() public {
        bytes memory call = saying(OFF, 2);
        (bool ok, bytes memory why) = settles(call);
        assert(!ok && bytes4(why) == IVotes.NotAllMembers.selector);
        requireStatus(batchId, IBatches.Status.Committed);
        // The honest member is heard in the next, where stake counts.
        skip(60);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        settleAs(provider, batchId, quorumVotes(batchId, VALID));
        requireStatus(batchId, IBatches.Status.Paid);
        eq(batches.rangeOf(batchId, 0).refund, 0, "refund");
    }

    function test_allOfAFirstCommitteeDo() public {
        (bool ok,) = settles(saying(OFF, 3));
        assert(ok);
        eq(batches.rangeOf(batchId, 0).refund, FEE, "refund");
    }

    function test_aQuorumOfALargerOneDoes() public {
        skip(61);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        (bool ok,) = settles(saying(OFF, 4));
        assert(ok);
        eq(batches.rangeOf(batchId, 0).refund, FEE, "refund");
    }

    function test_otherVerdictsNeedAQuorum() public {
        uint256 start = vm.snapshotState();
        (bool ok,) = settles(saying(VALID, 2));
        assert(ok);
        vm.revertToState(start);
        // Any draw that is forged condemns, whatever is said of the others; that can be appealed.
        (ok,) = settles(saying(0x0205020200000000000000000000000000000000000000000000000000000000, 2));
        assert(ok);
        requireStatus(batchId, IBatches.Status.SlashPending);
    }
}
