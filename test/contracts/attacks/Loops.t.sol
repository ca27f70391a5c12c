// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../../../protocol/contracts/interfaces/IBatches.sol";
import {IEscrow} from "../../../protocol/contracts/interfaces/IEscrow.sol";
import {IVotes} from "../../../protocol/contracts/interfaces/IVotes.sol";
import {NaiveTree} from "../NaiveTree.sol";
import {Settling} from "./Settling.sol";

/// @dev Every loop of the contracts at its largest, with cold storage, in the gas of one transaction; and what dust does to them. The
/// largest committees are in Attacks.t.sol, the end of an epoch in Emissions.t.sol.
contract LoopsTest is Settling, NaiveTree {
    /// @dev EIP-7825.
    uint256 private constant TRANSACTION_GAS = 1 << 24;
    uint256 private constant RANGES = 24;

    mapping(address operator => uint256) private _keys;

    /// @dev Printed by `forge test -vv`: what spec/attacks.md §6 has is from here.
    event log_named_uint(string key, uint256 value);

    function setUp() public override {
        super.setUp();
        IBatches.Params memory p = defaults();
        // As the devnet has it; with 8 draws the word of verdicts is full when every range is audited.
        (p.draws, p.maxRanges) = (8, uint16(RANGES));
        rebuild(p);
    }

    function chill() private {
        address[6] memory all = [
            address(registry), address(batches), address(escrow), address(token), address(beacon), address(emissions)
        ];
        for (uint256 i = 0; i < all.length; i++) vm.cool(all[i]);
        vm.cool(address(seats));
        vm.cool(address(strikes));
        vm.cool(address(votes));
    }

    function atMost(uint256 used, uint256 limit, string memory what) private {
        assert(limit <= TRANSACTION_GAS);
        emit log_named_uint(what, used);
        if (used > limit) revert Differs(what, used, limit);
    }

    function callGas(address by, bytes memory data) private returns (uint256) {
        chill();
        vm.prank(by);
        uint256 before = gasleft();
        (bool ok, bytes memory err) = address(batches).call(data);
        uint256 used = before - gasleft();
        if (!ok) {
            assembly {
                revert(add(err, 32), mload(err))
            }
        }
        return used;
    }

    /// @dev As many sessions as a batch takes, each of a consumer of its own, for `price` each.
    function crowdedRanges(uint128 price) private returns (IEscrow.Range[] memory list) {
        list = new IEscrow.Range[](RANGES);
        for (uint256 i = 0; i < RANGES; i++) {
            uint256 key = 2_000 + i;
            fund(vm.addr(key), 10 ether + price);
            bytes32 id = open(key, provider, price);
            list[i] = nextRange(key, id, 1, price);
        }
    }

    /// @dev 24 ranges of one receipt, all audited, all draws and all audits off tolerance: the dearest `settle` that a batch can ask for, but for
    /// the committee, with paths of five levels.
    function test_aFullBatchWithEverythingOffStillSettles() public {
        uint128 price = 10 ether;
        IEscrow.Range[] memory list = crowdedRanges(price);
        uint128[] memory prices = new uint128[](RANGES);
        for (uint256 i = 0; i < RANGES; i++) prices[i] = price;
        IBatches.Sibling[][] memory levels = build(prices);
        bytes32 root = levels[levels.length - 1][0].hash;
        atMost(callGas(provider, abi.encodeCall(batches.anchorBatch, (root, list))), 2_600_000, "anchor");
        bytes32 batchId = batches.batchIdOf(provider, root);
        for (uint256 i = 0; i < RANGES; i++) {
            bytes memory naming = abi.encodeCall(batches.audit, (batchId, i, uint128(i) * price));
            atMost(callGas(vm.addr(2_000 + i), naming), 230_000, "audit");
        }
        toCommittee(batchId);
        bytes32 verdicts;
        for (uint256 draw = 0; draw < 32; draw++) verdicts |= bytes32(uint256(2) << (248 - 8 * draw));
        IBatches.Opening[] memory openings = new IBatches.Opening[](RANGES);
        for (uint256 i = 0; i < RANGES; i++) {
            openings[i] = openingOf(levels, i, price);
            openings[i].range = uint32(i);
        }
        bytes memory data = settling(batchId, quorumVotes(batchId, verdicts), openings);
        atMost(callGas(provider, data), 2_600_000, "settle");
        for (uint256 i = 0; i < RANGES; i++) {
            atMost(callGas(address(this), abi.encodeCall(batches.collect, (batchId, i))), 120_000, "collect");
        }
        eq(escrow.potOf(batchId), 0, "pot");
    }

    /// @dev Sessions and ranges of one base unit: each pays its gas and takes a place in the batch, which its provider gives or not. The rest of
    /// the batch is not touched, and nothing of them is lost.
    function test_rangesOfOneUnitAreTakenAndMoveNothingElse() public {
        IEscrow.Range[] memory list = crowdedRanges(1);
        list[0] = nextRange(CONSUMER, session, 3, 100 ether);
        bytes32 batchId = anchor("dust", list);
        toCommittee(batchId);
        settle(batchId, allEight());
        uint256 owner = escrow.balanceOf(ownerOf(1));
        for (uint256 i = 0; i < RANGES; i++) batches.collect(batchId, i);
        assert(escrow.balanceOf(ownerOf(1)) - owner >= 92 ether);
        eq(escrow.potOf(batchId), 0, "pot");
    }

    function allEight() private pure returns (bytes32 verdicts) {
        for (uint256 draw = 0; draw < 8; draw++) verdicts |= bytes32(uint256(1) << (248 - 8 * draw));
    }

    /// @dev A batch of one unit pays the floor and locks the least lock, so it cannot be used to fill committees for nothing.
    function test_aBatchOfOneUnitPaysTheFloorAndLocksTheLeastLock() public {
        bytes32 batchId = anchor(1);
        eq(registry.lockOf(batchId).amount, 10 ether, "lock");
        eq(escrow.potOf(batchId), 1 ether + 1, "floor");
        toCommittee(batchId);
        settle(batchId, allEight());
        eq(emissions.creditOf(provider), 0, "mints nothing");
    }

    /// @dev The least that moves a weight, a thousand times: one record in the tree each, read by halving. A draw costs a few reads more.
    function test_stakeAddedBitByBitDoesNotMakeDrawsDear() public {
        // The tree has a level below its root, whose history is long too.
        for (uint256 key = 100; key < 110; key++) enter(key, key + 100, STAKE);
        mine(1);
        bytes32 seed = "seed";
        uint256 frozen = vm.getBlockNumber() - 1;
        vm.cool(address(registry));
        uint256 before = gasleft();
        registry.draw(seed, frozen, 5, provider);
        uint256 plain = before - gasleft();
        token.approve(address(registry), 4_000 ether);
        for (uint256 i = 0; i < 1_000; i++) {
            mine(1);
            registry.addStake(vm.addr(2 + i % 5), 4 ether);
        }
        mine(1);
        frozen = vm.getBlockNumber() - 1;
        vm.cool(address(registry));
        before = gasleft();
        registry.draw(seed, frozen, 5, provider);
        atMost(before - gasleft(), plain + 100_000, "draw");
    }

    /// @dev All committees, from 2 up to the largest that is drawn, say `forged`, each on appeal: everybody is paid at the end, in one transaction.
    function test_theSlashAfterEveryAppealIsPaidInOneTransaction() public {
        for (uint256 key = 1_000; key < 1_140; key++) {
            enter(key, key + 10_000, 1_000 ether);
            _keys[vm.addr(key)] = key;
        }
        for (uint256 key = 1; key <= NODES; key++) _keys[vm.addr(key)] = key;
        mine(1);
        address appellant = vm.addr(77);
        fund(appellant, 10_000 ether);
        bytes32 batchId = judged(100 ether);
        uint256 all = registry.MAX_DRAWN();
        while (true) {
            uint256 sitting = everyMemberCondemns(batchId);
            if (sitting == all) break;
            vm.prank(appellant);
            batches.appeal(batchId);
            recordSlot(batches.batchOf(batchId).committeeSlot);
        }
        skip(30);
        atMost(callGas(address(this), abi.encodeCall(batches.finalize, (batchId))), 16_000_000, "finalize");
    }

    /// @dev Commits and opens the votes of all members. Returns how many they are.
    function everyMemberCondemns(bytes32 batchId) private returns (uint256) {
        address[] memory members = batches.committee(batchId);
        bytes32 verdicts = 0x0505050505050505000000000000000000000000000000000000000000000000;
        IVotes.Signed[] memory list = new IVotes.Signed[](members.length);
        IVotes.Commitment[] memory committed = new IVotes.Commitment[](members.length);
        IVotes.Vote[] memory given = new IVotes.Vote[](members.length);
        for (uint256 i = 0; i < members.length; i++) {
            uint256 key = _keys[members[i]];
            list[i] = entry(batchId, i, key, commitmentOf(batchId, vote(key, verdicts)));
            committed[i] = IVotes.Commitment(members[i], list[i].commitment);
            given[i] = IVotes.Vote(i, verdicts, bytes32(key), saltOf(key));
        }
        uint8 attempt = batches.batchOf(batchId).attempt;
        chill();
        uint256 before = gasleft();
        votes.commitVotes(batchId, attempt, list);
        atMost(before - gasleft(), 6_000_000, "commit");
        bytes memory data = abi.encodeCall(batches.settle, (batchId, committed, given, new IBatches.Opening[](0)));
        atMost(callGas(provider, data), 13_000_000, "settle");
        return members.length;
    }
}
