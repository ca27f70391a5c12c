// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Emissions} from "../../protocol/contracts/Emissions.sol";
import {PriceIndex} from "../../protocol/contracts/PriceIndex.sol";
import {SinterToken} from "../../protocol/contracts/SinterToken.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {IPriceIndex} from "../../protocol/contracts/interfaces/IPriceIndex.sol";
import {World} from "./World.sol";

/// @dev Who mints, how much, and what measured capacity earns.
contract EmissionsTest is World {
    uint256 private constant GAMMA_OF_TIER_2 = 68;

    function paid(uint256 fee) private returns (bytes32 batchId) {
        batchId = judged(fee);
        settle(batchId, VALID);
    }

    function epochs(uint256 count) private {
        skip(count * 1 days);
        emissions.roll(count);
    }

    // ---- minting

    function test_nobodyButEmissionsMints() public {
        vm.expectRevert(abi.encodeWithSelector(SinterToken.NotMinter.selector, address(this)));
        token.mint(address(this), 1);
        eq(token.minter(), address(emissions), "minter");
    }

    function test_aSettledBatchCreditsItsProviderWhoseOwnerClaims() public {
        paid(100 ether);
        uint256 credit = 5 ether * GAMMA_OF_TIER_2 / 100;
        eq(emissions.creditOf(provider), credit, "credit");
        uint256 supply = token.totalSupply();
        eq(emissions.claim(provider), credit, "claimed");
        eq(token.balanceOf(ownerOf(1)), credit, "owner");
        eq(token.totalSupply() - supply, credit, "supply");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NothingToClaim.selector, provider));
        emissions.claim(provider);
    }

    function test_theBurnHappensAtSettlement() public {
        bytes32 batchId = judged(100 ether);
        uint256 supply = token.totalSupply();
        settle(batchId, VALID);
        eq(supply - token.totalSupply(), 5 ether, "burned");
        batches.collect(batchId, 0);
        eq(supply - token.totalSupply(), 5 ether, "no more by collecting");
    }

    function test_onlyBatchesSettleWork() public {
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotBatches.selector, address(this)));
        emissions.settleWork(provider, 100 ether, 5 ether, 500, 1_000);
    }

    function test_batchesThatAreNotPaidMintNothing() public {
        bytes32 forged = judged(100 ether);
        settle(forged, FORGED);
        bytes32 untraced = anchor(100 ether);
        recordSlot(batches.batchOf(untraced).sampleSlot);
        skip(61);
        batches.expire(untraced);
        batches.finalize(forged);
        eq(emissions.credited(), 0, "credited");
        eq(emissions.epoch().burned, 0, "burned");
    }

    function test_theTierIsThatOfTheStakeBeforeTheAnchor() public {
        bytes32 batchId = anchor(100 ether);
        token.approve(address(registry), 50_000 ether);
        registry.addStake(provider, 50_000 ether);
        toCommittee(batchId);
        settle(batchId, VALID);
        eq(emissions.creditOf(provider), 3.4 ether, "as of the anchor");
        paid(100 ether);
        eq(emissions.creditOf(provider), 3.4 ether + 4 ether, "the stake counts for the next");
    }

    function test_workMintsNoMoreThanTheEpochsBudget() public {
        // Burned by one batch of a fee that no consumer here could pay: the budget is 300,000.
        vm.prank(address(batches));
        emissions.settleWork(provider, 1e26, 1e25, 500, vm.getBlockNumber() - 1);
        eq(emissions.creditOf(provider), 300_000 ether, "budget");
        vm.prank(address(batches));
        emissions.settleWork(provider, 1e26, 1e25, 500, vm.getBlockNumber() - 1);
        eq(emissions.creditOf(provider), 300_000 ether, "spent");
        epochs(1);
        // γ is now the budget over a seventh of all that burned.
        eq(emissions.epoch().gammaPpm, 104_947, "gamma");
    }

    function test_theBurnRateOfABatchIsThatOfItsAnchor() public {
        bytes32 batchId = anchor(100 ether);
        emissions.report(provider, 1_000_000);
        epochs(1);
        eq(emissions.betaBps(), 450, "nothing was used");
        toCommittee(batchId);
        settle(batchId, VALID);
        eq(batches.batchOf(batchId).burnPart, 5 ether, "at the anchor's rate");
        eq(batches.batchOf(anchor(100 ether)).betaBps, 450, "the next");
    }

    /// @dev Nothing that is paid or minted runs code of who gets it, so there is nothing to re-enter from.
    function test_anOwnerThatRefusesEveryCallIsPaidAndClaims() public {
        vm.etch(ownerOf(1), hex"fe");
        bytes32 batchId = paid(100 ether);
        batches.collect(batchId, 0);
        emissions.claim(provider);
        eq(escrow.balanceOf(ownerOf(1)), 92 ether, "paid");
        eq(token.balanceOf(ownerOf(1)), 3.4 ether, "minted");
    }

    /// @dev The lock was sized for the bound, whatever the other contract says.
    function test_aBurnRateAboveTheBatchesOwnBoundIsCutToIt() public {
        IBatches.Params memory p = defaults();
        p.betaMaxBps = 400;
        rebuild(p);
        bytes32 batchId = paid(100 ether);
        eq(batches.batchOf(batchId).betaBps, 400, "rate");
        eq(batches.batchOf(batchId).burnPart, 4 ether, "burned");
    }

    // ---- epochs

    function test_aLongSilenceIsCaughtUpInSteps() public {
        bytes32 batchId = judged(100 ether);
        castAll(batchId, quorumVotes(batchId, VALID));
        skip(100 days);
        settle(batchId, VALID);
        eq(emissions.epoch().index, 2, "two on the way");
        eq(emissions.epochNow(), 100, "clock");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.EpochsBehind.selector, 4, 100));
        emissions.report(provider, 1);
        eq(emissions.roll(1_000), 100, "all");
        emissions.report(provider, 1);
    }

    function test_withoutMeasuredCapacityBetaAndPricesStandStill() public {
        paid(100 ether);
        epochs(9);
        eq(emissions.betaBps(), 500, "beta");
        eq(index.classAt(0).price, 0.001 ether, "price");
    }

    function test_onlyEmissionsMovePrices() public {
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.NotEmissions.selector, address(this)));
        index.update(CLASS, 0);
        vm.prank(address(emissions));
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.UnknownClass.selector, bytes32("x")));
        index.update("x", 0);
    }

    // ---- capacity

    function test_onlyTheCapacityContractReports() public {
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotCapacity.selector, provider));
        emissions.report(provider, 1);
    }

    function test_aClassWithoutAPriceIsNotMeasuredButWorks() public {
        enterAs(7, 107, STAKE, "quantum");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.ClassNotPriced.selector, keccak256("quantum")));
        emissions.report(vm.addr(7), 1);
        vm.prank(address(batches));
        emissions.settleWork(vm.addr(7), 100 ether, 5 ether, 500, vm.getBlockNumber() - 1);
        eq(emissions.creditOf(vm.addr(7)), 5 ether * 56 / 100, "its stake is younger than the block: first tier");
    }

    function test_idleCapacityEarnsAFifthOfTheFloorTimesTheLowestFactor() public {
        emissions.report(provider, 1_000_000);
        eq(emissions.creditOf(provider), 0, "not yet");
        epochs(1);
        eq(emissions.creditOf(provider), 1_000_000 * 0.0005 ether * 16 / 100, "credit");
        epochs(3);
        eq(emissions.claim(provider), 80 ether, "once");
    }

    function testFuzz_splittingCapacityOverIdentitiesGainsNothing(uint256 units, uint256 parts) public {
        (units, parts) = (bound(units, 10, 1e15), bound(parts, 1, 5));
        emissions.report(vm.addr(6), uint64(units));
        uint256 given = 0;
        for (uint256 i = 1; i <= parts; i++) {
            uint256 part = i == parts ? units - given : units / parts;
            given += part;
            emissions.report(vm.addr(i), uint64(part));
        }
        epochs(1);
        uint256 sum = 0;
        for (uint256 i = 1; i <= parts; i++) sum += emissions.creditOf(vm.addr(i));
        eq(sum, emissions.creditOf(vm.addr(6)), "linear");
        assert(emissions.credited() <= 40_000 ether);
    }

    // ---- steering

    /// @dev A receipt of one unit for a fee of a thousand: it counts for what the machine could have done, and burns as ever.
    function test_aHighFeeMovesUtilisationByTheMachineItWasPaidTo() public {
        emissions.report(provider, 10);
        emissions.report(vm.addr(2), 990);
        paid(1_000 ether);
        eq(emissions.classState(CLASS).used, 10, "used");
        epochs(1);
        eq(index.classAt(0).price, 0.001 ether - 0.001 ether * uint256(200) * 983_333 / 1e10, "price falls");
        eq(emissions.betaBps(), 450, "beta falls");
    }

    function test_aNodeThatWasNotMeasuredMovesNothing() public {
        emissions.report(vm.addr(2), 990);
        paid(1_000 ether);
        eq(emissions.classState(CLASS).used, 0, "used");
    }

    function test_dustSettlesAndMovesNothing() public {
        emissions.report(provider, 1_000);
        paid(3);
        eq(emissions.classState(CLASS).used, 0, "used");
        eq(emissions.credited(), 0, "credited");
        eq(emissions.classState(CLASS).backing, 0, "backing");
    }

    function test_threeBusyEpochsOfSevenMoveNeitherPriceNorBurnRateUpButFourDo() public {
        for (uint256 e = 0; e < 10; e++) {
            emissions.report(provider, 1_000);
            if (e >= 7) paid(10 ether);
            epochs(1);
            assert(emissions.betaBps() < 500);
        }
        emissions.report(provider, 1_000);
        paid(10 ether);
        uint256 low = emissions.betaBps();
        uint256 price = index.classAt(0).price;
        epochs(1);
        assert(emissions.betaBps() > low + 40 && index.classAt(0).price > price);
    }

    // ---- parameters and sizes

    function refused(IEmissions.Params memory p, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IEmissions.BadEmissionParams.selector, field));
        new Emissions(token, registry, index, address(batches), address(this), p);
    }

    function test_parametersOutOfRangeAreRefused() public {
        IEmissions.Params memory p = emissionParams();
        p.gammaBps = 9_000;
        refused(p, "gammaBps");
        p.gammaBps = 8_999;
        new Emissions(token, registry, index, address(batches), address(this), p);
        p.workBps = 9_001;
        refused(p, "workBps");
        p = emissionParams();
        p.lambdaPpm = 1_000_000;
        refused(p, "lambdaPpm");
        p = emissionParams();
        p.epochLength = 0;
        refused(p, "epochLength");
        p = emissionParams();
        p.betaBps = 199;
        refused(p, "betaBps");
        p.betaBps = 2_001;
        refused(p, "betaBps");
        p = emissionParams();
        p.tierBps[2] = 10_001;
        refused(p, "tierBps");
        p = emissionParams();
        p.targetPpm = 0;
        refused(p, "targetPpm");
        p = emissionParams();
        p.emission0 = type(uint128).max;
        refused(p, "emission0");
        p = emissionParams();
        p.releaseEpochs = 0;
        refused(p, "smoothingEpochs");
    }

    function test_classesOutOfOrderAreRefused() public {
        IPriceIndex.ClassPrice[] memory list = classes();
        list[1].class = list[0].class;
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.BadPrices.selector, 1));
        new PriceIndex(address(this), 600_000, 200, list);
        list = classes();
        list[0].floor = list[0].price + 1;
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.BadPrices.selector, 0));
        new PriceIndex(address(this), 600_000, 200, list);
        list[0].floor = 0;
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.BadPrices.selector, 0));
        new PriceIndex(address(this), 600_000, 200, list);
        vm.expectRevert(abi.encodeWithSelector(IPriceIndex.BadPrices.selector, 8));
        new PriceIndex(address(this), 600_000, 200, new IPriceIndex.ClassPrice[](9));
    }

    function test_everyContractFitsTheLimitOfTheChain() public view {
        address[7] memory list = [
            address(token), address(beacon), address(registry), address(escrow), address(batches), address(index), address(emissions)
        ];
        for (uint256 i = 0; i < 7; i++) if (list[i].code.length > 24_576) revert Differs("size", i, list[i].code.length);
    }
}

/// @dev As many classes as a network may have, all measured and used.
contract ManyClassesTest is World {
    function classes() internal pure override returns (IPriceIndex.ClassPrice[] memory list) {
        list = new IPriceIndex.ClassPrice[](8);
        for (uint256 i = 0; i < 8; i++) list[i] = IPriceIndex.ClassPrice(keccak256(name(i)), 1e15, 1e14);
    }

    function name(uint256 i) private pure returns (bytes memory) {
        return abi.encodePacked(bytes1(uint8(97 + i)));
    }

    function test_anEpochOfTheMostClassesEndsWithinATenthOfATransaction() public {
        for (uint256 i = 0; i < 8; i++) enterAs(10 + i, 110 + i, STAKE, string(name(i)));
        mine(1);
        for (uint256 e = 0; e < 9; e++) {
            for (uint256 i = 0; i < 8; i++) {
                emissions.report(vm.addr(10 + i), 1_000);
                vm.prank(address(batches));
                emissions.settleWork(vm.addr(10 + i), 1 ether, 0.05 ether, 500, vm.getBlockNumber() - 1);
            }
            skip(1 days);
            vm.cool(address(emissions));
            vm.cool(address(index));
            uint256 before = gasleft();
            emissions.roll(1);
            uint256 used = before - gasleft();
            // 2^24 gas is what one transaction gets (EIP-7825).
            if (10 * used > 1 << 24) revert Differs("gas", used, 1 << 24);
        }
        assert(index.classAt(7).price > 1e15);
    }
}

/// @dev A chain where the schedule was set too high for the cap: claims wait for room and lose nothing.
contract CapTest is World {
    function supplyCap() internal pure override returns (uint256) {
        return 100_000_000 ether;
    }

    function test_aClaimBeyondTheCapWaitsForBurns() public {
        bytes32 batchId = judged(100 ether);
        settle(batchId, VALID);
        emissions.report(provider, 1_000_000);
        skip(1 days);
        // 5 ether have burned, 83.4 are due.
        eq(emissions.claim(provider), 5 ether, "room");
        eq(token.totalSupply(), token.cap(), "full");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NothingToClaim.selector, provider));
        emissions.claim(provider);
        token.burn(100 ether);
        // A thirtieth of the backing has been released on top, rounded down for each of a million units.
        uint256 released = 6_666_666_666 * 1_000_000;
        eq(emissions.claim(provider), 78.4 ether + released, "the rest");
        eq(emissions.credited(), 83.4 ether + released, "all");
    }
}
