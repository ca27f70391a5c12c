// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
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
            enter(key, 7, 1_000 ether);
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
        crowd(registry.MAX_PLACES() - NODES);
        mine(1);
        bytes32 batchId = judged(100 ether);
        while (batches.committee(batchId).length < registry.MAX_PLACES() - 1) {
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

    function test_aPlaceGoesToMoreStakeAndTheDrawsOfThePastDoNotChange() public {
        crowd(registry.MAX_PLACES() - NODES);
        mine(1);
        uint256 frozen = vm.getBlockNumber() - 1;
        uint256 all = registry.MAX_PLACES() - 1;
        bytes32 past = keccak256(abi.encode(registry.draw("seed", frozen, all, provider)));
        // As much as the least is not more.
        enter(500, 600, 1_000 ether);
        mine(1);
        assert(!drawn(500));
        token.approve(address(registry), 2);
        registry.addStake(vm.addr(500), 1);
        mine(1);
        assert(drawn(500));
        assert(!drawn(1_000));
        eq(registry.eligibleCount(vm.getBlockNumber() - 1, provider), all, "places");
        // Whoever lost its place comes back with more stake than the next.
        registry.addStake(vm.addr(1_000), 1);
        mine(1);
        assert(drawn(1_000) && drawn(500));
        assert(!drawn(1_001));
        eq(keccak256(abi.encode(registry.draw("seed", frozen, all, provider))), past, "the past");
    }

    function drawn(uint256 key) private view returns (bool) {
        address[] memory now_ = registry.draw("seed", vm.getBlockNumber() - 1, registry.MAX_PLACES(), provider);
        for (uint256 i = 0; i < now_.length; i++) if (now_[i] == vm.addr(key)) return true;
        return false;
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
