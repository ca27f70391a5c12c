// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IReferee} from "../../../protocol/contracts/interfaces/IReferee.sol";
import {Hashes} from "../Hashes.sol";
import {World} from "../World.sol";

/// @dev A forger with a member of its own in the committee, who says `forged` too, but that it was shown nothing. Posting the attestation then voids
/// a verdict for no bond: so it must be one that needs the silent vote.
contract SilenceTest is World {
    Hashes private hashes = new Hashes();
    IReferee.Parts private parts;

    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), sha256("bytes")));
        parts = IReferee.Parts(5, leaf, 1, leaf);
    }

    /// @dev A batch whose attestation can be posted, before its committee.
    function committed() private returns (bytes32 batchId) {
        batchId = anchor(100 ether);
        trace(batchId);
        recordSlot(batches.batchOf(batchId).challengeSlot);
        bytes32 digest = hashes.digest(parts);
        vm.prank(provider);
        batches.commitAttestation(batchId, digest);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        referee.post(batchId, parts, 0, "bytes", new bytes32[](0));
    }

    /// @dev All members call it forged, the last `silent` of them without a digest.
    function condemn(bytes32 batchId, uint256 silent) private {
        address[] memory members = batches.committee(batchId);
        Said[] memory said = new Said[](members.length);
        for (uint256 i = 0; i < said.length; i++) {
            said[i] = vote(keyOf(members[i]), FORGED);
            if (i + silent >= said.length) said[i].digest = 0;
        }
        settleAs(provider, batchId, said);
    }

    function rebutRefused(bytes32 batchId) private {
        vm.expectRevert(abi.encodeWithSelector(IBatches.NotAppealable.selector, batchId));
        batches.rebut(batchId);
    }

    function test_aVerdictThatStandsWithoutItsSilentVotesIsNotRebutted() public {
        bytes32 batchId = committed();
        condemn(batchId, 1);
        rebutRefused(batchId);
        skip(30);
        batches.finalize(batchId);
        eq(registry.freeStake(provider), STAKE - 200 ether, "the lock is gone");
    }

    function test_aVerdictThatNeedsItsSilentVotesIsRebutted() public {
        bytes32 batchId = committed();
        condemn(batchId, 2);
        batches.rebut(batchId);
        requireStatus(batchId, IBatches.Status.Committed);
    }

    /// @dev The first committee found it. The forger appeals, and its members make the second verdict a silent one: to void it would void the
    /// first too, and where nobody judges again the lock would come back.
    function test_aVerdictThatFoundSomethingIsNotVoidedByASilentOneAfterIt() public {
        bytes32 batchId = committed();
        condemn(batchId, 0);
        vm.prank(provider);
        batches.appeal(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        condemn(batchId, 5);
        rebutRefused(batchId);
        skip(30);
        batches.finalize(batchId);
        eq(registry.freeStake(provider), STAKE - 200 ether, "the lock is gone");
    }
}
