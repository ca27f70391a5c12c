// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Actors} from "./Actors.sol";
import {Disputes} from "./Disputes.sol";
import {Harness} from "./Harness.sol";
import {Market} from "./Market.sol";

/// @dev Whatever a few hundred people do in whatever order: money is conserved and nobody pays himself.
contract ConservationTest is Harness {
    Disputes private actors;

    function setUp() public {
        actors = new Disputes();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Batches' steps come up more often than everything else together.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory s = new bytes4[](37);
        (s[0], s[1], s[2], s[3]) = (Actors.deposit.selector, Actors.withdraw.selector, Actors.openSession.selector, Actors.topUp.selector);
        (s[4], s[5], s[6]) = (Actors.close.selector, Actors.unbond.selector, Actors.release.selector);
        (s[7], s[8]) = (Actors.anchorOne.selector, Actors.anchorOne.selector);
        (s[9], s[10], s[11]) = (Market.measure.selector, Market.measure.selector, Market.claim.selector);
        (s[12], s[13], s[14]) = (Market.stake.selector, Market.stake.selector, Market.unstake.selector);
        (s[26], s[27], s[28]) = (Actors.slashSeat.selector, Actors.releaseSeats.selector, Actors.releaseSeats.selector);
        (s[29], s[30]) = (Actors.commitVotes.selector, Actors.equivocate.selector);
        (s[31], s[32], s[33]) = (Disputes.post.selector, Disputes.post.selector, Disputes.rebut.selector);
        (s[34], s[35], s[36]) = (Disputes.rebut.selector, Disputes.convict.selector, Disputes.unseat.selector);
        for (uint256 i = 15; i < 26; i++) s[i] = Actors.advance.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actors), s);
    }

    /// @dev One campaign for all: each would walk the same states.
    function invariant_moneyIsConservedAndNobodyPaysHimself() public view {
        moneyIsConserved();
        supplyIsMintedLessBurnedAndUnderTheCap();
        nobodyProfitsFromJobsOfItsOwn();
        assert(actors.convictedRightly());
    }

    function moneyIsConserved() private view {
        eq(actors.claims(), actors.escrowHolds(), "balances + reserves + pots = escrow");
        (uint256 stake, uint256 locked, uint256 locks) = actors.stakes();
        eq(stake + actors.unbonding(), actors.registryHolds(), "stakes + unbonding = registry");
        eq(locked, locks, "locks");
        (uint256 sum, uint256 supply) = actors.everyToken();
        eq(sum, supply, "every token has an owner");
        assert(actors.finished());
    }

    function supplyIsMintedLessBurnedAndUnderTheCap() private view {
        (uint256 minted, uint256 supply, uint256 cap) = actors.minted();
        assert(supply <= minted && supply <= cap);
        eq(minted, 100_000_000 ether + actors.claimed(), "minted = genesis + claims");
        (uint256 credited, uint256 open) = actors.credits();
        eq(credited, open + actors.claimed(), "credited = open + claimed");
        assert(credited <= actors.budget());
    }

    function nobodyProfitsFromJobsOfItsOwn() private view {
        (uint256 credited,) = actors.credits();
        // γ + α = 0.9 of what the jobs burned, beyond what capacity earns without any job.
        uint256 most = actors.baseline() + actors.netBurned() * 9 / 10;
        if (credited > most) revert Differs("credited", credited, most);
    }
}
