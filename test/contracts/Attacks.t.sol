// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {World} from "./World.sol";

/// @dev Attacks that succeeded against earlier versions of the contracts, kept so that they never do again.
contract AttacksTest is World {
    /// @dev EIP-7825: no transaction gets more gas than this, whatever a block could hold.
    uint256 private constant TRANSACTION_GAS = 1 << 24;

    mapping(address operator => uint256) private _keys;

    /// @dev Registers nodes with the least stake.
    function crowd(uint256 count) private {
        for (uint256 key = 1_000; key < 1_000 + count; key++) {
            enter(key, 20_000 + key / 64, 1_000 ether);
            _keys[vm.addr(key)] = key;
        }
        for (uint256 key = 1; key <= NODES; key++) _keys[vm.addr(key)] = key;
    }

    function chill() private {
        address[5] memory all =
            [address(registry), address(batches), address(escrow), address(token), address(beacon)];
        for (uint256 i = 0; i < all.length; i++) vm.cool(all[i]);
    }

    function underTheLimit(uint256 used) private pure {
        if (used > TRANSACTION_GAS) revert Differs("gas", used, TRANSACTION_GAS);
    }

    function crowdVotes(bytes32 batchId, bytes32 verdicts) private view returns (IBatches.SignedVote[] memory votes) {
        address[] memory members = batches.committee(batchId);
        votes = new IBatches.SignedVote[](batches.quorumOf(members.length));
        for (uint256 i = 0; i < votes.length; i++) votes[i] = vote(batchId, _keys[members[i]], verdicts);
    }

    /// @dev A forger whose batch is before its committee registers nodes until nobody can pay for a draw any more: no
    /// verdict, no redraw, no abandonment, for its batch and for all others, for ever. Each node cost every draw 7,200 gas and
    /// the forger 280,000 once; its stake came back after the unbonding delay.
    function test_aCrowdOfRegistrationsCannotStopABatchFromEnding() public {
        bytes32 batchId = judged(100 ether);
        crowd(400);
        skip(61);
        chill();
        uint256 before = gasleft();
        batches.redraw(batchId);
        uint256 used = before - gasleft();
        // A list of all nodes took three million.
        if (used > 2_000_000) revert Differs("gas", used, 2_000_000);
        // The crowd came after the anchor: the five of then are all there is.
        recordSlot(batches.batchOf(batchId).committeeSlot);
        eq(batches.committee(batchId).length, NODES - 1, "members");
        IBatches.SignedVote[] memory votes = quorumVotes(batchId, FORGED);
        vm.prank(provider);
        batches.settle(batchId, votes, new IBatches.Opening[](0));
        requireStatus(batchId, IBatches.Status.SlashPending);
    }

    function test_theLargestCommitteeStillSettlesInOneTransaction() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        crowd(200);
        mine(1);
        bytes32 batchId = judged(100 ether);
        while (batches.committee(batchId).length < registry.MAX_DRAWN()) {
            skip(61);
            batches.redraw(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        }
        IBatches.SignedVote[] memory votes = crowdVotes(batchId, FORGED);
        eq(votes.length, 85, "votes");
        chill();
        vm.prank(provider);
        uint256 before = gasleft();
        batches.settle(batchId, votes, new IBatches.Opening[](0));
        underTheLimit(before - gasleft());
        skip(31);
        chill();
        before = gasleft();
        batches.finalize(batchId);
        underTheLimit(before - gasleft());
    }

    /// @dev Of a network that is larger than the largest committee, that is the last: it can be waited for, and then the batch ends.
    function test_aLargeNetworkHasALastCommittee() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (100, 67);
        rebuild(p);
        crowd(200);
        mine(1);
        bytes32 batchId = judged(100 ether);
        eq(batches.committee(batchId).length, 100, "first");
        skip(61);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        eq(batches.committee(batchId).length, registry.MAX_DRAWN(), "last");
        skip(61);
        vm.expectRevert(abi.encodeWithSelector(IBatches.CommitteeExhausted.selector, registry.MAX_DRAWN()));
        batches.redraw(batchId);
        skip(41);
        batches.abandon(batchId);
        requireStatus(batchId, IBatches.Status.Abandoned);
    }

    /// @dev A provider whose owner has many nodes: each is one path more that a draw has to read.
    function test_anOwnerOfManyNodesCannotMakeADrawTooExpensive() public {
        crowd(300);
        uint256 own = registry.MAX_NODES_OF_OWNER();
        // One of key 101 is the provider.
        for (uint256 key = 2_000; key < 2_000 + own - 1; key++) enter(key, 101, 1_000 ether);
        address operator = vm.addr(3_000);
        token.transfer(operator, 1_000 ether);
        bytes memory publicKey = publicKeyOf(3_000);
        bytes memory consent = consentOf(operator, 101);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.TooManyNodesOfOwner.selector, vm.addr(101)));
        registry.register(publicKey, vm.addr(101), "cpu", 1_000 ether, consent);
        mine(1);
        chill();
        uint256 before = gasleft();
        address[] memory drawn = registry.draw("seed", vm.getBlockNumber() - 1, 200, provider);
        uint256 used = before - gasleft();
        if (used > 6_000_000) revert Differs("gas", used, 6_000_000);
        eq(drawn.length, registry.MAX_DRAWN(), "drawn");
        for (uint256 i = 0; i < drawn.length; i++) assert(registry.payoutOf(drawn[i]) != vm.addr(101));
    }

    /// @dev 40 nodes with 4% of the stake are two thirds of all nodes. Where every node sits, they were a quorum: a provider that
    /// got the committees before divided (it hands out its attestation, or models, to some) was paid for anything.
    function test_nodesWithoutStakeAreNoQuorumWhereAllNodesSit() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        token.approve(address(registry), 5 * 200_000 ether);
        for (uint256 key = 2; key <= NODES; key++) registry.addStake(vm.addr(key), 200_000 ether);
        crowd(40);
        mine(1);
        bytes32 batchId = judged(100 ether);
        for (uint256 attempt = 1; attempt < 5; attempt++) {
            skip(61);
            batches.redraw(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        }
        eq(batches.committee(batchId).length, 45, "all sit");
        IBatches.SignedVote[] memory votes = new IBatches.SignedVote[](40);
        for (uint256 i = 0; i < 40; i++) votes[i] = vote(batchId, 1_000 + i, VALID);
        uint256 needed = uint256(5 * 205_000 ether + 40_000 ether) * 2 / 3;
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NoQuorum.selector, 40_000 ether, needed));
        batches.settle(batchId, votes, new IBatches.Opening[](0));
        // Four of the five with 96% of the stake are one, and the crowd's silence keeps nobody from it.
        votes = new IBatches.SignedVote[](4);
        address[] memory voters = new address[](4);
        for (uint256 i = 0; i < 4; i++) (votes[i], voters[i]) = (vote(batchId, 2 + i, FORGED), vm.addr(2 + i));
        (uint256 given, uint256 wanted) = batches.standing(batchId, voters);
        eq(given, 820_000 ether, "given");
        eq(wanted, needed, "wanted");
        vm.prank(provider);
        batches.settle(batchId, votes, new IBatches.Opening[](0));
        requireStatus(batchId, IBatches.Status.SlashPending);
    }

    /// @dev However much it holds, one node is no quorum.
    function test_oneRichNodeIsNoQuorum() public {
        IBatches.Params memory p = defaults();
        (p.committeeSize, p.quorum) = (3, 2);
        rebuild(p);
        token.approve(address(registry), 900_000 ether);
        registry.addStake(vm.addr(2), 900_000 ether);
        mine(1);
        bytes32 batchId = judged(100 ether);
        skip(61);
        batches.redraw(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
        IBatches.SignedVote[] memory votes = new IBatches.SignedVote[](1);
        votes[0] = vote(batchId, 2, VALID);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IBatches.NoQuorum.selector, 1, 2));
        batches.settle(batchId, votes, new IBatches.Opening[](0));
    }

    /// @dev A forger shows its attestation to one member only: that one finds draw 1 forged, the other finds nothing and
    /// calls all draws forged. Their votes never agreed, the batch was abandoned, and the lock went free.
    function test_anAttestationShownToHalfOfTheCommitteeDoesNotDivideIt() public {
        bytes32 batchId = judged(100 ether);
        address[] memory members = batches.committee(batchId);
        IBatches.SignedVote[] memory votes = new IBatches.SignedVote[](2);
        votes[0] = vote(batchId, keyOf(members[0]), FORGED);
        votes[1] = vote(batchId, keyOf(members[1]), hex"05050505");
        vm.prank(provider);
        batches.settle(batchId, votes, new IBatches.Opening[](0));
        requireStatus(batchId, IBatches.Status.SlashPending);
        eq(batches.batchOf(batchId).verdicts, FORGED, "the first vote's");
        uint256 supply = token.totalSupply();
        skip(31);
        batches.finalize(batchId);
        eq(supply - token.totalSupply(), 180 ether, "burned");
        eq(registry.freeStake(provider), STAKE - 200 ether, "the lock is gone");
    }

    function test_onlyForgedVotesAgreeWithoutBeingEqual() public {
        bytes32 batchId = judged(100 ether);
        address[] memory members = batches.committee(batchId);
        IBatches.SignedVote[] memory votes = new IBatches.SignedVote[](2);
        votes[0] = vote(batchId, keyOf(members[0]), FORGED);
        refused(batchId, votes, members[1], VALID, abi.encodeWithSelector(IBatches.VerdictsDiffer.selector, 1));
        refused(batchId, votes, members[1], hex"05040101", abi.encodeWithSelector(IBatches.BadVerdict.selector, 1));
        votes[0] = vote(batchId, keyOf(members[0]), VALID);
        refused(batchId, votes, members[1], FORGED, abi.encodeWithSelector(IBatches.VerdictsDiffer.selector, 1));
        votes[0] = vote(batchId, keyOf(members[0]), hex"02010101");
        refused(batchId, votes, members[1], VALID, abi.encodeWithSelector(IBatches.VerdictsDiffer.selector, 1));
        // The same member in two words is still one member.
        votes[0] = vote(batchId, keyOf(members[0]), FORGED);
        bytes memory twice = abi.encodeWithSelector(IBatches.VotedTwice.selector, members[0]);
        refused(batchId, votes, members[0], hex"05050505", twice);
    }

    function refused(
        bytes32 batchId,
        IBatches.SignedVote[] memory votes,
        address member,
        bytes32 verdicts,
        bytes memory err
    ) private {
        votes[1] = vote(batchId, keyOf(member), verdicts);
        vm.prank(provider);
        vm.expectRevert(err);
        batches.settle(batchId, votes, new IBatches.Opening[](0));
    }
}
