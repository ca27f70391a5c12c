// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {IConsumerStakes} from "../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {IPriceIndex} from "../../protocol/contracts/interfaces/IPriceIndex.sol";
import {Actors} from "./Actors.sol";

/// @dev The same people with epochs, measured capacity, consumer stakes and claims. They are everybody there is, so they are one
/// coalition of consumers, providers and verifiers, and every job is one of its own.
contract Market is Actors {
    /// @dev What measured capacity would have earned without any job.
    uint256 public baseline;
    uint256 public netBurned;
    uint256 public claimed;
    /// @dev Σ S_e of the epochs that have ended.
    uint256 public scheduled;

    function emissionParams() internal pure override returns (IEmissions.Params memory p) {
        p = super.emissionParams();
        // Epochs go by with the deadlines of batches, and both budgets bind now and then.
        p.epochLength = 100;
        p.emission0 = 20 ether;
        p.lambdaPpm = 990_000;
        // No slack in what is asserted: every tier mints all of γ.
        p.tierBps = [uint16(10_000), 10_000, 10_000];
    }

    function stakeParams() internal pure override returns (IConsumerStakes.StakeParams memory p) {
        p = super.stakeParams();
        (p.lockTime, p.activation) = (300, 100);
        p.stakes = [uint128(1), 10 ether, 50 ether];
    }

    // ---- epochs

    /// @dev Ends every epoch that is due, and keeps the books of each by the definition.
    function tick() public {
        uint64 now_ = emissions.epochNow();
        for (uint64 e = emissions.epoch().index; e < now_; e++) {
            uint256 schedule = emissions.epoch().schedule;
            uint256 base = 0;
            for (uint256 i = 0; i < index.classCount(); i++) {
                IPriceIndex.ClassPrice memory c = index.classAt(i);
                base += uint256(emissions.classState(c.class).capacity) * c.floor * 16 / 100;
            }
            uint256 pool = schedule * emissionParams().availabilityBps / 10_000;
            baseline += base < pool ? base : pool;
            scheduled += schedule;
            emissions.roll(1);
        }
    }

    function beforeSettling() internal override {
        tick();
    }

    function afterPaid(bytes32 batchId) internal override {
        IBatches.Batch memory b = batches.batchOf(batchId);
        netBurned += b.burnPart - b.discountPart;
    }

    function measure(uint256 who, uint256 units) external {
        tick();
        // From machines that do nothing else to machines that settled batches fill.
        emissions.report(holders[3 + 2 * (who % NODES)], uint64(bound(units, 1, who % 3 == 0 ? 300 : 200_000)));
    }

    function claim(uint256 who) external {
        tick();
        address operator = holders[3 + 2 * (who % NODES)];
        if (emissions.creditOf(operator) == 0) return;
        claimed += emissions.claim(operator);
    }

    // ---- stakes of consumers

    function stake(uint256 who, uint256 amount) external {
        address account = holders[1 + who % 2];
        uint256 held = escrow.balanceOf(account);
        if (held == 0) return;
        vm.prank(account);
        escrow.stake(bound(amount, 1, held > 40 ether ? 40 ether : held));
    }

    function unstake(uint256 who, uint256 amount) external {
        address account = holders[1 + who % 2];
        IConsumerStakes.ConsumerStake memory s = escrow.stakeOf(account);
        if (s.leaving > 0) {
            if (vm.getBlockTimestamp() < s.releaseAt) vm.warp(s.releaseAt);
            vm.prank(account);
            escrow.unstake();
        } else if (s.active + s.pending > 0) {
            vm.prank(account);
            escrow.requestUnstake(bound(amount, 1, s.active + s.pending));
        }
    }

    // ---- what must hold

    function minted() external view returns (uint256 all, uint256 supply, uint256 cap) {
        return (token.minted(), token.totalSupply(), token.cap());
    }

    function credits() external view returns (uint256 all, uint256 open) {
        all = emissions.credited();
        for (uint256 i = 3; i < holders.length; i += 2) open += emissions.creditOf(holders[i]);
    }

    function budget() external view returns (uint256) {
        return scheduled + emissions.epoch().schedule;
    }
}
