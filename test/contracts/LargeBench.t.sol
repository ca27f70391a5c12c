// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {ICanaries} from "../../protocol/contracts/interfaces/ICanaries.sol";
import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {Hashes} from "./Hashes.sol";
import {World} from "./World.sol";

/// @dev The largest committee of a network of 50,000, all 127 of them, pays a forged batch: every step that follows costs less than a transaction
/// has gas, from storage as cold as in a transaction of its own. The tree is as tall as with 50,000 leaves, and those who sit are spread over all
/// of it, which is the dearest: few of their paths have a node in common. Between them nobody is registered.
contract LargeBenchTest is World {
    /// @dev EIP-7825.
    uint256 private constant TRANSACTION_GAS = 1 << 24;
    /// @dev For seats; what is left of the gas is for the consents of wallets.
    uint256 private constant LIMIT = 12_000_000;
    uint256 private constant LEAVES = 50_000;
    uint256 private constant CROWD = 140;
    uint256 private constant ALL = 127;
    /// @dev Of `NodeRegistry`: the length of `_operators`, and `_tree.leaves`.
    bytes32 private constant OPERATORS = bytes32(uint256(6));
    bytes32 private constant TREE_LEAVES = bytes32(uint256(10));
    bytes32 private constant SALT = "salt";
    uint256 private constant FEES = 100 ether;

    Hashes private hashes = new Hashes();
    IReferee.Parts private parts;
    IReferee.Place private place;
    mapping(address operator => uint256) private _keys;
    address[] private bench;

    /// @dev Printed by `forge test -vv`: what spec/attacks.md §6 has is from here.
    event log_named_uint(string key, uint256 value);

    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (63, 42);
        rebuild(p);
        // A tree grows by a level with each of these, so that each is where a registry of 50,000 has it.
        for (uint256 level = 1; level < 6; level++) enterAt(900 + level, level == 5 ? 32_768 : 8 ** level);
        for (uint256 i = 0; i < CROWD; i++) enterAt(1_000 + i, 32_769 + i * (LEAVES - 32_769) / CROWD);
        eq(registry.operatorCount(), 32_769 + (CROWD - 1) * (LEAVES - 32_769) / CROWD + 1, "operators");
        for (uint256 key = 1; key <= NODES; key++) _keys[vm.addr(key)] = key;
        mine(1);
        place = IReferee.Place(0, "receipt", uint128(FEES), 0, "");
        parts = IReferee.Parts(5, leaf(sha256("bytes")), 1, leaf(hashes.place(place)));
    }

    function leaf(bytes32 content) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), content));
    }

    function enterAt(uint256 key, uint256 leafIndex) private {
        vm.store(address(registry), OPERATORS, bytes32(leafIndex));
        vm.store(address(registry), TREE_LEAVES, bytes32(leafIndex));
        enter(key, 20_000 + key / 64, 1_000 ether);
        _keys[vm.addr(key)] = key;
    }

    function keyOf(address operator) internal view override returns (uint256) {
        return _keys[operator];
    }

    function atMost(uint256 used, uint256 limit, string memory what) private {
        assert(limit <= TRANSACTION_GAS);
        emit log_named_uint(what, used);
        if (used > limit) revert Differs(what, used, limit);
    }

    /// @dev Gas of a call by itself: all storage is cold.
    function gasOf(address by, address target, bytes memory data) private returns (uint256) {
        address[10] memory all = [
            address(registry), address(batches), address(escrow), address(token), address(beacon), address(emissions),
            address(seats), address(votes), address(canaries), address(referee)
        ];
        for (uint256 i = 0; i < all.length; i++) vm.cool(all[i]);
        vm.prank(by);
        uint256 before = gasleft();
        (bool ok, bytes memory err) = target.call(data);
        uint256 used = before - gasleft();
        if (ok) return used;
        assembly {
            revert(add(err, 32), mload(err))
        }
    }

    /// @dev A canary whose attestation claims a place that is none, before its committee.
    function trapped() private returns (bytes32 batchId) {
        batchId = batches.batchIdOf(provider, "root");
        bytes32 seal = canaries.sealOf(batchId, SALT);
        bytes32 digest = hashes.digest(parts);
        token.transfer(provider, FEES);
        vm.prank(provider);
        token.approve(address(canaries), FEES);
        vm.prank(provider);
        canaries.bury(seal, uint128(FEES));
        mine(1);
        anchor("root", ranges(FEES));
        trace(batchId, canaries.trapOf(batchId, SALT));
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.prank(provider);
        batches.commitAttestation(batchId, digest);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        // Of a larger committee stake is counted, and `settle` draws it again.
        skip(61);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    /// @dev All members say the same.
    function judge(bytes32 batchId, bytes32 verdicts) private {
        bench = batches.committee(batchId);
        eq(bench.length, ALL, "members");
        IVotes.Signed[] memory list = new IVotes.Signed[](ALL);
        IVotes.Commitment[] memory committed = new IVotes.Commitment[](ALL);
        IVotes.Vote[] memory given = new IVotes.Vote[](ALL);
        for (uint256 i = 0; i < ALL; i++) {
            uint256 key = _keys[bench[i]];
            list[i] = entry(batchId, i, key, commitmentOf(batchId, vote(key, verdicts)));
            committed[i] = IVotes.Commitment(bench[i], list[i].commitment);
            given[i] = IVotes.Vote(i, verdicts, bytes32(key), saltOf(key));
        }
        atMost(gasOf(provider, address(votes), abi.encodeCall(votes.commitVotes, (batchId, 1, list))), 6_000_000, "commit");
        bytes memory data = abi.encodeCall(batches.settle, (batchId, committed, given, new IBatches.Opening[](0)));
        atMost(gasOf(provider, address(batches), data), 13_000_000, "settle");
    }

    function stakes() private view returns (uint256 sum) {
        for (uint256 i = 0; i < ALL; i++) sum += registry.nodeOf(bench[i]).stake;
    }

    /// @dev The seats that are left cannot be released in front of whoever goes on, for as long as they were held.
    function heldFor(bytes32 batchId) private {
        skip(seats.seatWindow());
        vm.expectPartialRevert(ISeats.SeatsStillHeld.selector);
        seats.release(batchId, bench);
    }

    function takeRest(bytes32 batchId) private view returns (bytes memory) {
        return abi.encodeCall(canaries.takeRest, (batchId, bench));
    }

    function test_aCanaryThatTheLargestCommitteePaidCostsAllOfItsSeats() public {
        bytes32 batchId = trapped();
        judge(batchId, VALID);
        uint256 before = stakes();
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NothingLeft.selector, batchId));
        canaries.takeRest(batchId, bench);
        // In the last second: nobody leaves in front of the second half.
        vm.warp(seats.benchOf(batchId).until);
        bytes[] memory consents = new bytes[](1);
        bytes32 content = keccak256(abi.encode(keccak256("CanaryConsent(bytes32 batch)"), batchId));
        consents[0] = signed(CONSUMER, block.chainid, address(canaries), content);
        bytes memory reveal = abi.encodeCall(canaries.reveal, (batchId, SALT, bench, consents));
        atMost(gasOf(provider, address(canaries), reveal), LIMIT, "reveal");
        eq(before - stakes(), 48 * uint256(SEAT), "the first of them");
        uint256 held = escrow.balanceOf(provider);
        for (uint256 i = 0; i < 2; i++) {
            heldFor(batchId);
            atMost(gasOf(address(0xbeef), address(canaries), takeRest(batchId)), LIMIT, "the rest");
        }
        eq(before - stakes(), ALL * uint256(SEAT), "all");
        eq(escrow.balanceOf(provider) - held, 79 * uint256(SEAT) / 2, "whoever goes on, it is the maker's");
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NothingLeft.selector, batchId));
        canaries.takeRest(batchId, bench);
    }

    /// @dev Nobody goes on: the seats that are left are free when their time is over, and nothing waits for them.
    function test_whatNobodyTakesIsFreeAtLast() public {
        bytes32 batchId = trapped();
        judge(batchId, VALID);
        bytes[] memory consents = new bytes[](1);
        bytes32 content = keccak256(abi.encode(keccak256("CanaryConsent(bytes32 batch)"), batchId));
        consents[0] = signed(CONSUMER, block.chainid, address(canaries), content);
        vm.prank(provider);
        canaries.reveal(batchId, SALT, bench, consents);
        vm.warp(seats.benchOf(batchId).until + 1);
        bytes memory release = abi.encodeCall(seats.release, (batchId, bench));
        atMost(gasOf(address(0xbeef), address(seats), release), 3_000_000, "release");
        for (uint256 i = 0; i < ALL; i++) eq(registry.nodeOf(bench[i]).locked, 0, "locked");
        vm.expectRevert(abi.encodeWithSelector(ICanaries.NothingLeft.selector, batchId));
        canaries.takeRest(batchId, bench);
    }

    function test_theLargestCommitteeThatPaidWhatTheChainRefutesLosesAllOfItsSeats() public {
        bytes32 batchId = trapped();
        judge(batchId, VALID);
        uint256 before = stakes();
        IReferee.Leaf memory first;
        referee.provePlace(batchId, parts, first, place);
        bytes memory unseat = abi.encodeCall(referee.unseat, (batchId, bench));
        vm.warp(seats.benchOf(batchId).until);
        for (uint256 i = 0; i < 3; i++) {
            atMost(gasOf(address(0xbeef), address(referee), unseat), LIMIT, "unseat");
            if (i < 2) heldFor(batchId);
        }
        eq(before - stakes(), ALL * uint256(SEAT), "all");
        vm.expectRevert(abi.encodeWithSelector(IReferee.NothingLeft.selector, batchId));
        referee.unseat(batchId, bench);
    }

    function test_whatTheLargestCommitteeCondemnsIsConvictedAndSlashed() public {
        bytes32 batchId = trapped();
        judge(batchId, FORGED);
        IReferee.Leaf memory first;
        bytes memory convict = abi.encodeCall(referee.provePlace, (batchId, parts, first, place));
        atMost(gasOf(address(0xbeef), address(referee), convict), 1_000_000, "convict");
        skip(31);
        bytes memory finalize = abi.encodeCall(batches.finalize, (batchId));
        atMost(gasOf(address(0xbeef), address(batches), finalize), 7_000_000, "finalize");
    }

    function test_anEquivocationCostsOneSeatWhereverItsVoterStands() public {
        bytes32 batchId = trapped();
        bench = batches.committee(batchId);
        uint256 key = _keys[bench[100]];
        IVotes.Signature memory one = signedCommitment(batchId, 1, key, "one");
        IVotes.Signature memory other = signedCommitment(batchId, 1, key, "other");
        bytes memory proof =
            abi.encodeCall(votes.proveEquivocation, (batchId, 1, attestedOf(batchId), one, other));
        atMost(gasOf(address(0xbeef), address(votes), proof), 600_000, "equivocation");
    }
}
