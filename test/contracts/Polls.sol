// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Batches} from "../../protocol/contracts/Batches.sol";
import {Votes} from "../../protocol/contracts/Votes.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {Harness} from "./Harness.sol";

/// @dev How committees vote: commit, open, settle.
abstract contract Polls is Harness {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    Batches internal batches;
    Votes internal votes;

    function signed(uint256 key, uint256 chain, address contract_, bytes32 content) internal pure returns (bytes memory) {
        bytes32 separator =
            keccak256(abi.encode(DOMAIN, keccak256("Sinter"), keccak256("1"), chain, contract_));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", separator, content)));
        return abi.encodePacked(r, s, v);
    }

    /// @dev What a member has to say.
    struct Said {
        uint256 key;
        bytes32 verdicts;
        bytes32 digest;
    }

    /// @dev Commitments on chain of a batch's present attempt, and the attempt that they are of.
    mapping(bytes32 batchId => IVotes.Commitment[]) private _committed;
    mapping(bytes32 batchId => uint8) private _attempt;

    function vote(uint256 key, bytes32 verdicts) internal pure returns (Said memory) {
        return Said(key, verdicts, bytes32(key));
    }

    function keyOf(address operator) internal view virtual returns (uint256) {
        for (uint256 key = 1; key <= 64; key++) if (vm.addr(key) == operator) return key;
        revert("no key");
    }

    /// @dev As many equal votes of the current committee as its quorum needs.
    function quorumVotes(bytes32 batchId, bytes32 verdicts) internal view returns (Said[] memory said) {
        address[] memory members = batches.committee(batchId);
        said = new Said[](batches.quorumOf(members.length));
        for (uint256 i = 0; i < said.length; i++) said[i] = vote(keyOf(members[i]), verdicts);
    }

    function saltOf(uint256 key) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", key));
    }

    function commitmentOf(bytes32 batchId, Said memory said) internal view returns (bytes32) {
        IBatches.Batch memory b = batches.batchOf(batchId);
        bytes32 typeHash = keccak256(
            "Vote(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 verdicts,bytes32 digest,bytes32 salt,address voter)"
        );
        return keccak256(
            abi.encode(
                typeHash, batchId, b.attempt, b.attestation, said.verdicts, said.digest, saltOf(said.key), vm.addr(said.key)
            )
        );
    }

    /// @dev About the attestation that the batch has.
    function signedCommitment(bytes32 batchId, uint8 attempt, uint256 key, bytes32 commitment)
        internal
        view
        returns (IVotes.Signature memory)
    {
        return signedCommitment(block.chainid, address(votes), batchId, attempt, attestedOf(batchId), key, commitment);
    }

    function attestedOf(bytes32 batchId) internal view returns (bytes32) {
        return batches.batchOf(batchId).attestation;
    }

    function signedCommitment(
        uint256 chain,
        address contract_,
        bytes32 batchId,
        uint8 attempt,
        bytes32 attestation,
        uint256 key,
        bytes32 commitment
    ) internal pure returns (IVotes.Signature memory s) {
        bytes32 typeHash =
            keccak256("VoteCommitment(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 commitment)");
        bytes32 content = keccak256(abi.encode(typeHash, batchId, attempt, attestation, commitment));
        bytes memory long = signed(key, chain, contract_, content);
        s.commitment = commitment;
        (bytes32 r, bytes32 ss) = abi.decode(long, (bytes32, bytes32));
        s.r = r;
        s.vs = ss | bytes32(uint256(uint8(long[64]) - 27) << 255);
    }

    /// @dev A commitment of whoever sits there, as `commitVotes` takes it.
    function entry(bytes32 batchId, uint256 seat, uint256 key, bytes32 commitment)
        internal
        view
        returns (IVotes.Signed memory)
    {
        IVotes.Signature memory s = signedCommitment(batchId, batches.batchOf(batchId).attempt, key, commitment);
        return IVotes.Signed(seat, s.commitment, s.r, s.vs);
    }

    /// @dev Puts the commitments of these members on chain, but of those who have committed.
    function cast(bytes32 batchId, Said[] memory said) internal {
        address[] memory members = batches.committee(batchId);
        uint8 attempt = batches.batchOf(batchId).attempt;
        uint256 missing = missingOf(batchId);
        IVotes.Signed[] memory list = new IVotes.Signed[](said.length);
        uint256 count = 0;
        if (_attempt[batchId] != attempt) delete _committed[batchId];
        _attempt[batchId] = attempt;
        for (uint256 i = 0; i < said.length; i++) {
            uint256 seat = 0;
            address voter = vm.addr(said[i].key);
            while (members[seat] != voter) seat++;
            if (missing >> seat & 1 == 0) continue;
            list[count] = entry(batchId, seat, said[i].key, commitmentOf(batchId, said[i]));
            _committed[batchId].push(IVotes.Commitment(voter, list[count++].commitment));
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
        if (count > 0) votes.commitVotes(batchId, attempt, list);
    }

    /// @dev Seats whose members have not committed.
    function missingOf(bytes32 batchId) internal view returns (uint256) {
        IVotes.Ballot memory b = votes.ballotOf(batchId);
        if (b.members == 0 || b.attempt != batches.batchOf(batchId).attempt) {
            return (1 << batches.committee(batchId).length) - 1;
        }
        return b.missing;
    }

    /// @dev The members that are missing commit to something that nobody will ever see, so that the others can open.
    function closeBallot(bytes32 batchId) internal {
        address[] memory members = batches.committee(batchId);
        uint256 missing = missingOf(batchId);
        Said[] memory others = new Said[](members.length);
        uint256 count = 0;
        for (uint256 i = 0; i < members.length; i++) {
            if (missing >> i & 1 == 1) others[count++] = Said(keyOf(members[i]), "unseen", 0);
        }
        assembly ("memory-safe") {
            mstore(others, count)
        }
        cast(batchId, others);
    }

    function committedOf(bytes32 batchId) internal view returns (IVotes.Commitment[] memory) {
        return _committed[batchId];
    }

    /// @dev The votes as they are opened, by ascending place.
    function opened(bytes32 batchId, Said[] memory said) internal view returns (IVotes.Vote[] memory given) {
        IVotes.Commitment[] memory list = committedOf(batchId);
        given = new IVotes.Vote[](said.length);
        uint256 count = 0;
        for (uint256 place = 0; place < list.length; place++) {
            for (uint256 i = 0; i < said.length; i++) {
                if (list[place].voter != vm.addr(said[i].key)) continue;
                given[count++] = IVotes.Vote(place, said[i].verdicts, said[i].digest, saltOf(said[i].key));
            }
        }
        assembly ("memory-safe") {
            mstore(given, count)
        }
    }

    function castAll(bytes32 batchId, Said[] memory said) internal {
        cast(batchId, said);
        closeBallot(batchId);
    }

    /// @dev Commits, opens and settles.
    function settleAs(address by, bytes32 batchId, Said[] memory said, IBatches.Opening[] memory openings) internal {
        castAll(batchId, said);
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said);
        vm.prank(by);
        batches.settle(batchId, list, given, openings);
    }

    function settleAs(address by, bytes32 batchId, Said[] memory said) internal {
        settleAs(by, batchId, said, new IBatches.Opening[](0));
    }

    /// @dev The same, refused: nothing of it stays.
    function settleRefused(
        address by,
        bytes32 batchId,
        Said[] memory said,
        IBatches.Opening[] memory openings,
        bytes memory err
    ) internal {
        uint256 before = vm.snapshotState();
        castAll(batchId, said);
        IVotes.Commitment[] memory list = committedOf(batchId);
        IVotes.Vote[] memory given = opened(batchId, said);
        vm.prank(by);
        vm.expectRevert(err);
        batches.settle(batchId, list, given, openings);
        vm.revertToState(before);
    }

    function settleRefused(address by, bytes32 batchId, Said[] memory said, bytes memory err) internal {
        settleRefused(by, batchId, said, new IBatches.Opening[](0), err);
    }
}
