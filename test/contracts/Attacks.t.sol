// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {INodeRegistry} from "../../protocol/contracts/interfaces/INodeRegistry.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
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

    function keyOf(address operator) internal view override returns (uint256) {
        uint256 key = _keys[operator];
        return key == 0 ? super.keyOf(operator) : key;
    }

    function chill() private {
        address[6] memory all =
            [address(registry), address(batches), address(escrow), address(token), address(beacon), address(votes)];
        for (uint256 i = 0; i < all.length; i++) vm.cool(all[i]);
    }

    function underTheLimit(uint256 used) private pure {
        if (used > TRANSACTION_GAS) revert Differs("gas", used, TRANSACTION_GAS);
    }

    function crowdCommitments(bytes32 batchId, Said[] memory said) private view returns (IVotes.Signed[] memory list) {
        list = new IVotes.Signed[](said.length);
        for (uint256 i = 0; i < said.length; i++) {
            list[i] = entry(batchId, i, said[i].key, commitmentOf(batchId, said[i]));
        }
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
        Said[] memory said = quorumVotes(batchId, FORGED);
        settleAs(provider, batchId, said);
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
        Said[] memory said = quorumVotes(batchId, FORGED);
        eq(said.length, 85, "votes");
        IVotes.Signed[] memory list = crowdCommitments(batchId, said);
        uint8 attempt = batches.batchOf(batchId).attempt;
        chill();
        uint256 before = gasleft();
        votes.commitVotes(batchId, attempt, list);
        underTheLimit(before - gasleft());
        IVotes.Commitment[] memory committed = new IVotes.Commitment[](85);
        IVotes.Vote[] memory given = new IVotes.Vote[](85);
        for (uint256 i = 0; i < 85; i++) {
            committed[i] = IVotes.Commitment(vm.addr(said[i].key), list[i].commitment);
            given[i] = IVotes.Vote(i, said[i].verdicts, said[i].digest, saltOf(said[i].key));
        }
        skip(COMMIT_WINDOW + 1);
        chill();
        vm.prank(provider);
        before = gasleft();
        batches.settle(batchId, committed, given, new IBatches.Opening[](0));
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
        Said[] memory said = new Said[](40);
        for (uint256 i = 0; i < 40; i++) said[i] = vote(1_000 + i, VALID);
        uint256 needed = uint256(5 * 205_000 ether + 40_000 ether) * 2 / 3;
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IBatches.NoQuorum.selector, 40_000 ether, needed));
        // Four of the five with 96% of the stake are one, and the crowd's silence keeps nobody from it.
        said = new Said[](4);
        address[] memory voters = new address[](4);
        for (uint256 i = 0; i < 4; i++) (said[i], voters[i]) = (vote(2 + i, FORGED), vm.addr(2 + i));
        (uint256 given, uint256 wanted) = batches.standing(batchId, voters);
        eq(given, 820_000 ether, "given");
        eq(wanted, needed, "wanted");
        settleAs(provider, batchId, said);
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
        Said[] memory said = new Said[](1);
        said[0] = vote(2, VALID);
        settleRefused(provider, batchId, said, abi.encodeWithSelector(IBatches.NoQuorum.selector, 1, 2));
    }

    /// @dev A forger shows its attestation to one member only: that one finds draw 1 forged, the other finds nothing and
    /// calls all draws forged. Their votes never agreed, the batch was abandoned, and the lock went free.
    function test_anAttestationShownToHalfOfTheCommitteeDoesNotDivideIt() public {
        bytes32 batchId = judged(100 ether);
        address[] memory members = batches.committee(batchId);
        Said[] memory said = new Said[](2);
        said[0] = vote(keyOf(members[0]), FORGED);
        said[1] = vote(keyOf(members[1]), hex"05050505");
        settleAs(provider, batchId, said);
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
        Said[] memory said = new Said[](2);
        said[0] = vote(keyOf(members[0]), FORGED);
        refused(batchId, said, members[1], VALID, abi.encodeWithSelector(IVotes.VerdictsDiffer.selector, 1));
        refused(batchId, said, members[1], hex"05040101", abi.encodeWithSelector(IBatches.BadVerdict.selector, 1));
        said[0] = vote(keyOf(members[0]), VALID);
        refused(batchId, said, members[1], FORGED, abi.encodeWithSelector(IVotes.VerdictsDiffer.selector, 1));
        said[0] = vote(keyOf(members[0]), hex"02010101");
        refused(batchId, said, members[1], VALID, abi.encodeWithSelector(IVotes.VerdictsDiffer.selector, 1));
    }

    function refused(
        bytes32 batchId,
        Said[] memory said,
        address member,
        bytes32 verdicts,
        bytes memory err
    ) private {
        said[1] = vote(keyOf(member), verdicts);
        settleRefused(provider, batchId, said, err);
    }
}
