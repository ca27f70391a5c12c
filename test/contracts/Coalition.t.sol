// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {IPriceIndex} from "../../protocol/contracts/interfaces/IPriceIndex.sol";
import {World} from "./World.sol";

/// @dev A coalition among strangers, lived through twice with the real contracts: once with jobs of its own, once without. Whatever its
/// jobs do to utilisation, prices, γ and the demand factor, it mints at most γ + α of what they burned more than without them.
contract CoalitionTest is World {
    uint256 private constant EPOCHS = 3;
    /// @dev Until nearly all of the backing is released.
    uint256 private constant AFTER = 4;

    /// @dev Mints of the coalition and burns of its own jobs.
    struct Outcome {
        uint256 minted;
        uint256 burned;
    }

    function emissionParams() internal pure override returns (IEmissions.Params memory p) {
        p = super.emissionParams();
        p.emission0 = 30 ether;
        // β stands still: what moving it does to strangers' jobs is no mint (spec/economics.md, limits).
        p.kappaBps = 0;
        p.releaseEpochs = 2;
        p.tierBps = [uint16(10_000), 10_000, 10_000];
    }

    function classes() internal pure override returns (IPriceIndex.ClassPrice[] memory list) {
        list = super.classes();
        list[1] = IPriceIndex.ClassPrice(keccak256("gpu"), 0.001 ether, 0.001 ether);
    }

    function setUp() public override {
        super.setUp();
        enterAs(8, 108, STAKE, "gpu");
        mine(1);
    }

    function random(uint256 seed, uint256 e, uint256 what, uint256 limit) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, e, what))) % limit;
    }

    /// @dev Nodes 1 (cpu) and 8 (gpu) are the coalition's, node 2 (cpu) a stranger's. Strangers pay all three; the coalition pays only its own.
    function live(uint256 seed, uint256 share, uint256 wash) private returns (Outcome memory o) {
        for (uint256 e = 0; e < EPOCHS + AFTER; e++) {
            emissions.report(provider, uint64(1 + 100_000 * share / 100));
            emissions.report(vm.addr(2), uint64(1 + 100_000 * (100 - share) / 100));
            emissions.report(vm.addr(8), 20_000);
            uint256 beta = emissions.betaBps();
            uint256 own = wash == 0 || e >= EPOCHS ? 0 : random(seed, e, 0, wash);
            if (own > 0) {
                // The consumer's stake saves up to three tenths of the burn.
                uint256 burned = own * beta / 10_000;
                burned -= burned * random(seed, 0, 1, 3_001) / 10_000;
                o.burned += burned;
                work(random(seed, e, 2, 4) == 0 ? vm.addr(8) : provider, own, burned, beta);
            }
            honest(provider, random(seed, e, 3, 40 ether), beta);
            honest(vm.addr(2), random(seed, e, 4, 60 ether), beta);
            honest(vm.addr(8), random(seed, e, 5, 20 ether), beta);
            skip(1 days);
            emissions.roll(1);
        }
        o.minted = emissions.creditOf(provider) + emissions.creditOf(vm.addr(8));
    }

    function honest(address node, uint256 fees, uint256 beta) private {
        work(node, fees, fees * beta / 10_000, beta);
    }

    function work(address node, uint256 fees, uint256 burned, uint256 beta) private {
        vm.prank(address(batches));
        emissions.settleWork(node, fees, burned, beta, vm.getBlockNumber() - 1);
    }

    function compare(uint256 seed, uint256 share, uint256 wash) private returns (Outcome memory with_, Outcome memory without) {
        uint256 snapshot = vm.snapshotState();
        without = live(seed, share, 0);
        vm.revertToState(snapshot);
        with_ = live(seed, share, wash);
    }

    function testFuzz_jobsOfItsOwnMintLessThanTheyBurn(uint256 seed, uint256 share, uint256 wash) public {
        (Outcome memory with_, Outcome memory without) = compare(seed, bound(share, 0, 100), bound(wash, 1, 200 ether));
        // Rounding leaves less than a unit for each unit of capacity and epoch.
        uint256 dust = 120_000 * (EPOCHS + AFTER);
        uint256 most = without.minted + with_.burned * 9 / 10 + dust;
        if (with_.minted > most) revert Differs("minted", with_.minted, most);
    }
}
