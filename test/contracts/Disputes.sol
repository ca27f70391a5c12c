// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Benches} from "../../protocol/contracts/libraries/Benches.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {Hashes} from "./Hashes.sol";
import {Market} from "./Market.sol";

/// @dev The same people with a referee: attestations are posted, alleged silence is rebutted, and the batches whose provider claims a place that
/// its receipt does not have are convicted, in any state and order. Half of the batches claim one.
contract Disputes is Market {
    Hashes private immutable hashes = new Hashes();
    /// @dev How often each happened.
    uint256 public posts;
    uint256 public rebuttals;
    uint256 public convictions;
    uint256 public unseated;

    /// @dev No receipt stands here: the tree has two leaves.
    function wrongPlace() private pure returns (IReferee.Place memory) {
        return IReferee.Place(0, keccak256("receipt"), 1, 0, "");
    }

    function claimsWrong(bytes32 batchId) private pure returns (bool) {
        return uint256(batchId) % 2 == 0;
    }

    function partsOf(bytes32 batchId) private view returns (IReferee.Parts memory) {
        bytes32 claim = claimsWrong(batchId) ? hashes.place(wrongPlace()) : keccak256("other claims");
        bytes32 bytes_ = sha256(abi.encodePacked(uint8(0), sha256("bytes")));
        return IReferee.Parts(5, bytes_, 1, sha256(abi.encodePacked(uint8(0), claim)));
    }

    function attestationOf(bytes32 batchId) internal view override returns (bytes32) {
        return hashes.digest(partsOf(batchId));
    }

    /// @dev Who condemns says in every second batch that it was shown nothing, until that is refuted.
    function votesFor(bytes32 batchId, bytes32 verdicts) internal view override returns (Said[] memory said) {
        said = super.votesFor(batchId, verdicts);
        if (verdicts != allOf(batchId, 5) || uint256(batchId) % 4 > 1 || batches.batchOf(batchId).rebutted) return said;
        for (uint256 i = 0; i < said.length; i++) said[i].digest = 0;
    }

    /// @dev One that is or was before a committee.
    function accused(uint256 which) private view returns (bytes32 batchId, IBatches.Batch memory b) {
        if (batchIds.length == 0) return (0, b);
        batchId = batchIds[which % batchIds.length];
        b = batches.batchOf(batchId);
        if (b.attestation == 0) batchId = 0;
    }

    function post(uint256 which) public {
        (bytes32 batchId,) = accused(which);
        if (batchId == 0 || referee.posted(batchId)) return;
        referee.post(batchId, partsOf(batchId), 0, "bytes", new bytes32[](0));
        posts++;
    }

    function rebut(uint256 which) external {
        (bytes32 batchId, IBatches.Batch memory b) = accused(which);
        if (batchId == 0 || b.status != IBatches.Status.SlashPending) return;
        // Seldom has somebody posted it before.
        if (which % 4 != 0) post(which);
        bool heard = b.silent && referee.posted(batchId) && vm.getBlockTimestamp() < b.slashAt;
        try batches.rebut(batchId) {
            assert(heard);
            rebuttals++;
            recordSlot(batches.batchOf(batchId).committeeSlot);
        } catch {
            assert(!heard);
        }
    }

    function convict(uint256 which) external {
        (bytes32 batchId,) = accused(which);
        // Seldom, so that most of them are judged first.
        if (batchId == 0 || which % 3 != 0) return;
        bool guilty = claimsWrong(batchId) && referee.faultOf(batchId) == IReferee.Fault.None;
        IReferee.Leaf memory leaf = IReferee.Leaf(0, new bytes32[](0));
        try referee.provePlace(batchId, partsOf(batchId), leaf, wrongPlace()) {
            assert(guilty);
            convictions++;
        } catch {
            assert(!guilty);
        }
    }

    /// @dev Who paid what was refuted since, as long as its seat is held.
    function unseat(uint256 which) external {
        (bytes32 batchId, IBatches.Batch memory b) = accused(which);
        if (batchId == 0) return;
        bytes32 bench = Benches.last(seats, batchId, b.attempt);
        bool refuted = b.status == IBatches.Status.Paid && referee.faultOf(batchId) != IReferee.Fault.None;
        bool due = refuted && seats.benchOf(bench).voters != 0 && held[bench] > 0;
        try referee.unseat(batchId, _voters[bench]) {
            assert(due);
            held[bench] = 0;
            unseated++;
        } catch {
            assert(!due);
        }
    }

    /// @dev Who was convicted in time is never paid, and who claimed nothing wrong is never convicted.
    function convictedRightly() external view returns (bool) {
        for (uint256 i = 0; i < batchIds.length; i++) {
            bool convicted = referee.faultOf(batchIds[i]) != IReferee.Fault.None;
            if (convicted && !claimsWrong(batchIds[i])) return false;
            if (convicted && status(batchIds[i]) == IBatches.Status.Committed) return false;
        }
        return true;
    }
}
