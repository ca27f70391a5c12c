// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {World} from "../World.sol";

/// @dev How often a share of the stake has a quorum by itself. The odds are exact, round by round (two kinds of nodes, drawn by stake without
/// replacement), and the contract's own draws agree with them: 2,000 for each network, within Wilson's interval of 99%. The table of
/// spec/settlement.md comes from the same formula in test/economy/capture.ts. A second for each network: CI draws from the smallest, and
/// `npm run test:contracts CaptureTest` from all.
contract CaptureTest is World {
    uint256 private constant DRAWS = 2_000;
    uint256 private constant ONE = 1e18;

    struct Network {
        uint256 honest;
        uint256 honestStake;
        uint256 captors;
        uint256 captorStake;
    }

    mapping(address operator => bool) private _captor;

    /// @dev Odds that i of the first n seats are the captors', in parts of 10^18. More than 64 bits of error do not add up in 27 rounds.
    function exact(Network memory net, uint256 n) private pure returns (uint256[] memory odds) {
        odds = new uint256[](n + 1);
        odds[0] = ONE;
        for (uint256 round = 0; round < n; round++) {
            for (uint256 left = round + 1; left > 0; left--) {
                uint256 i = left - 1;
                uint256 theirs = i < net.captors ? (net.captors - i) * net.captorStake : 0;
                uint256 others = round - i < net.honest ? (net.honest - (round - i)) * net.honestStake : 0;
                uint256 here = odds[i];
                if (here == 0) continue;
                uint256 moved = here * theirs / (theirs + others);
                odds[i + 1] += moved;
                odds[i] = here - moved;
            }
        }
    }

    /// @dev As `Batches` counts: heads in a first committee, stake in a larger one (settlement.md §5.3).
    function captures(Network memory net, uint256 n, uint256 quorum, uint256 size, uint256 i) private pure returns (bool) {
        if (i < quorum) return false;
        if (n == size) return true;
        uint256 all = i * net.captorStake + (n - i) * net.honestStake;
        return i * net.captorStake >= (all * quorum + size - 1) / size;
    }

    function crowd(Network memory net) private {
        // Of those that every test has, the first is the provider, whose owner's nodes are not drawn.
        uint256 there = NODES - 1;
        for (uint256 i = there; i < net.honest; i++) enter(1_000 + i, 7, net.honestStake);
        for (uint256 i = 0; i < net.captors; i++) {
            enter(2_000 + i, 8, net.captorStake);
            _captor[vm.addr(2_000 + i)] = true;
        }
        mine(1);
    }

    /// @dev Of the first n seats of each draw, how many times i were the captors'.
    function measured(uint256[4] memory sizes, uint256 most) private view returns (uint256[28][4] memory counts) {
        uint256 frozen = vm.getBlockNumber() - 1;
        for (uint256 d = 0; d < DRAWS; d++) {
            // Seats are filled one after the other: the first n of a draw are the draw of n.
            address[] memory seats_ = registry.draw(keccak256(abi.encode("capture", d)), frozen, most, provider);
            uint256 theirs = 0;
            for (uint256 seat = 0; seat < most; seat++) {
                if (_captor[seats_[seat]]) theirs++;
                for (uint256 s = 0; s < 4; s++) if (seat + 1 == sizes[s]) counts[s][theirs]++;
            }
        }
    }

    /// @dev Whether `odds` lies in Wilson's interval of 99% for `hits` of DRAWS.
    function agrees(uint256 hits, uint256 odds) private pure returns (bool) {
        // z² = 6.6349. |p − p̂| ≤ z·√(p(1 − p)/n), which is the same interval, written for p.
        uint256 share = hits * ONE / DRAWS;
        uint256 gap = share > odds ? share - odds : odds - share;
        return gap <= Math.sqrt(odds * (ONE - odds) / DRAWS * 66_349 / 10_000) + 1;
    }

    function check(Network memory net, uint256 most) private {
        crowd(net);
        uint256[4] memory sizes = [uint256(3), 5, 13, 27];
        uint256[4] memory quorums = [uint256(2), 4, 9, 9];
        uint256[4] memory bases = [uint256(3), 5, 13, 13];
        uint256[28][4] memory counts = measured(sizes, most);
        for (uint256 s = 0; s < 4 && sizes[s] <= most; s++) {
            uint256[] memory odds = exact(net, sizes[s]);
            uint256 expected = 0;
            uint256 hits = 0;
            for (uint256 i = 0; i <= sizes[s]; i++) {
                if (!captures(net, sizes[s], quorums[s], bases[s], i)) continue;
                expected += odds[i];
                hits += counts[s][i];
            }
            if (!agrees(hits, expected)) revert Differs(vm.toString(sizes[s]), hits, expected);
        }
    }

    function test_aThirdOfTheStakeInASmallNetwork() public {
        check(Network(16, STAKE, 8, STAKE), 13);
    }

    function test_aThirdOfTheStakeInEqualNodes_long() public {
        check(Network(40, STAKE, 20, STAKE), 27);
    }

    function test_aFifthOfTheStakeInEqualNodes_long() public {
        check(Network(40, STAKE, 10, STAKE), 27);
    }

    function test_aTenthOfTheStakeInEqualNodes_long() public {
        check(Network(45, STAKE, 5, STAKE), 27);
    }

    /// @dev The same third in four rich nodes: they sit together seldom, since each sits once.
    function test_aThirdOfTheStakeInFourNodes_long() public {
        check(Network(40, STAKE, 4, 5 * STAKE), 27);
    }

    /// @dev And in many poor ones.
    function test_aThirdOfTheStakeInNodesWithTheLeast_long() public {
        check(Network(20, STAKE, 50, 1_000 ether), 27);
    }
}
