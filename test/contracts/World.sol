// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {Canaries} from "../../protocol/contracts/Canaries.sol";
import {Batches} from "../../protocol/contracts/Batches.sol";
import {Capacity} from "../../protocol/contracts/Capacity.sol";
import {Emissions} from "../../protocol/contracts/Emissions.sol";
import {Escrow} from "../../protocol/contracts/Escrow.sol";
import {HeaderBeacon} from "../../protocol/contracts/HeaderBeacon.sol";
import {NodeRegistry} from "../../protocol/contracts/NodeRegistry.sol";
import {Referee} from "../../protocol/contracts/Referee.sol";
import {PriceIndex} from "../../protocol/contracts/PriceIndex.sol";
import {Seats} from "../../protocol/contracts/Seats.sol";
import {Strikes} from "../../protocol/contracts/Strikes.sol";
import {SinterToken} from "../../protocol/contracts/SinterToken.sol";
import {Votes} from "../../protocol/contracts/Votes.sol";
import {IBatches} from "../../protocol/contracts/interfaces/IBatches.sol";
import {ICapacity} from "../../protocol/contracts/interfaces/ICapacity.sol";
import {IConsumerStakes} from "../../protocol/contracts/interfaces/IConsumerStakes.sol";
import {IEmissions} from "../../protocol/contracts/interfaces/IEmissions.sol";
import {IEscrow} from "../../protocol/contracts/interfaces/IEscrow.sol";
import {IReferee} from "../../protocol/contracts/interfaces/IReferee.sol";
import {IPriceIndex} from "../../protocol/contracts/interfaces/IPriceIndex.sol";
import {IStrikes} from "../../protocol/contracts/interfaces/IStrikes.sol";
import {ISeats} from "../../protocol/contracts/interfaces/ISeats.sol";
import {IVotes} from "../../protocol/contracts/interfaces/IVotes.sol";
import {Vm} from "./Harness.sol";
import {Polls} from "./Polls.sol";

/// @dev All contracts, six nodes (key 1 to 6, owner key + 100), two consumers (keys 21 and 22), and the steps of a batch.
abstract contract World is Polls {
    uint256 internal constant NODES = 6;
    uint256 internal constant STAKE = 5_000 ether;
    uint256 internal constant CONSUMER = 21;
    uint256 internal constant OTHER_CONSUMER = 22;
    bytes32 internal constant VALID = 0x0101010100000000000000000000000000000000000000000000000000000000;
    bytes32 internal constant FORGED = 0x0105010100000000000000000000000000000000000000000000000000000000;

    SinterToken internal token;
    HeaderBeacon internal beacon;
    NodeRegistry internal registry;
    Escrow internal escrow;
    PriceIndex internal index;
    Emissions internal emissions;
    Referee internal referee;
    Seats internal seats;
    Canaries internal canaries;
    Strikes internal strikes;
    Capacity internal capacity;
    address internal provider = vm.addr(1);
    address internal consumer = vm.addr(CONSUMER);
    bytes32 internal session;
    uint256 private _roots;

    function setUp() public virtual {
        vm.roll(1_000);
        vm.warp(1_000_000);
        rebuild(defaults());
    }

    /// @dev All contracts and people anew, with other parameters.
    function rebuild(IBatches.Params memory p) internal {
        deploy(p);
        for (uint256 key = 1; key <= NODES; key++) enter(key, key + 100, STAKE);
        fund(vm.addr(1), 1_000 ether);
        fund(consumer, 100_000 ether);
        fund(vm.addr(OTHER_CONSUMER), 100_000 ether);
        session = open(CONSUMER, provider, 10_000 ether);
        mine(1);
    }

    function defaults() internal pure returns (IBatches.Params memory p) {
        p.draws = 4;
        p.committeeSize = 2;
        p.quorum = 2;
        p.maxRanges = 8;
        p.lockBps = 20_000;
        p.nuBps = 300;
        p.betaMaxBps = 2_000;
        p.forfeitBps = 15_000;
        p.untracedSlashBps = 1_000;
        p.slashBurnBps = 9_000;
        p.minLock = 10 ether;
        p.verificationFloor = 1 ether;
        p.auditFee = 0.5 ether;
        p.auditWindow = 3;
        p.traceWindow = 60;
        p.attestWindow = 120;
        p.voteWindow = 60;
        p.pokeGrace = 10;
        p.slashPending = 30;
        p.appealWindow = 20;
        p.appealBondBps = 1_000;
        p.abandonWindow = 40;
    }

    bytes32 internal constant CLASS = keccak256("cpu");

    function supplyCap() internal pure virtual returns (uint256) {
        return 1_000_000_000 ether;
    }

    /// @dev This contract reports capacity, in tests that are not about how it is measured.
    function capacityReporter(address) internal view virtual returns (address) {
        return address(this);
    }

    function pulseParams() internal pure virtual returns (ICapacity.Params memory) {
        return ICapacity.Params(4, 12, 40, 3, 4, 3);
    }

    function capacityClasses() internal pure virtual returns (ICapacity.Class[] memory) {}

    function emissionParams() internal pure virtual returns (IEmissions.Params memory p) {
        p.epochLength = 1 days;
        p.emission0 = 400_000 ether;
        p.lambdaPpm = 999_500;
        (p.workBps, p.availabilityBps) = (7_500, 1_000);
        (p.gammaBps, p.alphaBps) = (8_000, 1_000);
        (p.smoothingEpochs, p.releaseEpochs) = (7, 30);
        (p.betaBps, p.betaMinBps, p.betaMaxBps) = (500, 200, 2_000);
        (p.kappaBps, p.betaStepBps, p.betaReturnEpochs) = (200, 50, 30);
        p.targetPpm = 600_000;
        p.tierStakes = [uint128(5_000 ether), 25_000 ether];
        p.tierBps = [uint16(7_000), 8_500, 10_000];
    }

    function stakeParams() internal pure virtual returns (IConsumerStakes.StakeParams memory p) {
        (p.lockTime, p.activation) = (30 days, 7 days);
        p.stakes = [uint128(1_000 ether), 10_000 ether, 50_000 ether];
        p.discountBps = [uint16(1_000), 2_000, 3_000];
    }

    function classes() internal pure virtual returns (IPriceIndex.ClassPrice[] memory list) {
        list = new IPriceIndex.ClassPrice[](2);
        list[0] = IPriceIndex.ClassPrice(CLASS, 0.001 ether, 0.0005 ether);
        list[1] = IPriceIndex.ClassPrice(keccak256("gpu"), 0.0002 ether, 0.0001 ether);
    }

    uint128 internal constant SEAT = 10 ether;
    uint64 internal constant COMMIT_WINDOW = 40;

    /// @dev Who may slash seats.
    function judges(address[3] memory others) private view returns (address[] memory list) {
        list = new address[](4);
        (list[0], list[1], list[2], list[3]) = (address(this), others[0], others[1], others[2]);
    }

    /// @dev Of circuits that this chain knows; these tests have one of their own.
    function keys() internal view virtual returns (bytes32[4] memory) {}
    /// @dev p0 = 0.5%, p1 = 5%, an honest provider once in a million draws.
    function strikeParams() internal pure returns (IStrikes.StrikeParams memory) {
        return IStrikes.StrikeParams(2_302_585, 46_300, 13_815_510, 300, 3_000, 3_000);
    }

    /// @dev Contracts name each other, so their places are known before they are there.
    function deploy(IBatches.Params memory p) internal {
        address[13] memory at;
        uint256 nonce = vm.getNonce(address(this));
        for (uint256 i = 0; i < at.length; i++) at[i] = vm.computeCreateAddress(address(this), nonce + i);
        token = new SinterToken(address(this), 100_000_000 ether, supplyCap(), at[6]);
        beacon = new HeaderBeacon(4, 1);
        registry = new NodeRegistry(token, IEscrow(at[3]), at[4], at[7], 1_000, 1_000 ether);
        escrow = new Escrow(token, address(registry), at[4], 300, stakeParams());
        batches = new Batches(
            registry,
            escrow,
            beacon,
            IEmissions(at[6]),
            ISeats(at[7]),
            IReferee(at[9]),
            IStrikes(at[10]),
            IVotes(at[11]),
            p
        );
        index = new PriceIndex(at[6], emissionParams().targetPpm, 200, classes());
        emissions = new Emissions(
            token, registry, index, address(batches), capacityReporter(at[12]), emissionParams()
        );
        seats = new Seats(registry, address(batches), SEAT, 60, judges([at[8], at[9], at[11]]));
        canaries = new Canaries(token, registry, batches, seats, 600, 200, 5_000);
        referee = new Referee(batches, beacon, seats, keys());
        strikes = new Strikes(address(batches), strikeParams());
        votes = new Votes(batches, seats, COMMIT_WINDOW);
        capacity = new Capacity(registry, beacon, strikes, emissions, pulseParams(), capacityClasses());
        assert(address(seats) == at[7] && seats.isJudge(address(canaries)) && address(referee) == at[9]);
        assert(address(strikes) == at[10] && address(votes) == at[11] && address(capacity) == at[12]);
        assert(address(batches) == at[4] && address(escrow) == at[3] && address(emissions) == at[6]);
    }

    // ---- people

    function enter(uint256 key, uint256 ownerKey, uint256 stake) internal {
        enterAs(key, ownerKey, stake, "cpu");
    }

    function enterAs(uint256 key, uint256 ownerKey, uint256 stake, string memory class) internal {
        address operator = vm.addr(key);
        token.transfer(operator, stake);
        vm.prank(operator);
        token.approve(address(registry), stake);
        bytes memory publicKey = publicKeyOf(key);
        bytes memory consent = consentOf(operator, ownerKey);
        vm.prank(operator);
        registry.register(publicKey, vm.addr(ownerKey), class, stake, consent);
    }

    function publicKeyOf(uint256 key) internal returns (bytes memory) {
        Vm.Wallet memory wallet = vm.createWallet(key);
        return abi.encodePacked(wallet.publicKeyX, wallet.publicKeyY);
    }

    function consentOf(address operator, uint256 ownerKey) internal view returns (bytes memory) {
        bytes32 content =
            keccak256(abi.encode(keccak256("PayoutConsent(address operator,address payout)"), operator, vm.addr(ownerKey)));
        return signed(ownerKey, block.chainid, address(registry), content);
    }

    function fund(address account, uint256 amount) internal {
        token.transfer(account, amount);
        vm.prank(account);
        token.approve(address(escrow), amount);
        vm.prank(account);
        escrow.deposit(amount);
    }

    function open(uint256 consumerKey, address to, uint256 ceiling) internal returns (bytes32) {
        uint64 expiry = uint64(vm.getBlockTimestamp() + 100_000);
        address account = vm.addr(consumerKey);
        vm.prank(account);
        return escrow.openSession(to, ceiling, expiry, account);
    }

    // ---- signatures

    function voucherContent(bytes32 session_, uint64 seq, uint256 cumulative, bytes32 receipt)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256("Voucher(bytes32 session,uint64 seq,uint256 cumulative,bytes32 receiptHash)");
        return keccak256(abi.encode(typeHash, session_, seq, cumulative, receipt));
    }

    /// @dev `count` more receipts for `fee`, acknowledged.
    function nextRange(uint256 consumerKey, bytes32 session_, uint64 count, uint256 fee)
        internal
        view
        returns (IEscrow.Range memory range)
    {
        IEscrow.Session memory s = escrow.sessionOf(session_);
        range.session = session_;
        range.toSeq = s.cursor + count;
        range.cumulative = s.anchored + fee;
        range.receiptHash = keccak256(abi.encode(session_, range.toSeq));
        bytes32 content = voucherContent(session_, range.toSeq, range.cumulative, range.receiptHash);
        range.signature = signed(consumerKey, block.chainid, address(escrow), content);
    }

    // ---- steps of a batch

    function ranges(uint256 fee) internal view returns (IEscrow.Range[] memory list) {
        list = new IEscrow.Range[](1);
        list[0] = nextRange(CONSUMER, session, 3, fee);
    }

    function anchor(uint256 fee) internal returns (bytes32) {
        return anchor(keccak256(abi.encode("root", _roots++)), ranges(fee));
    }

    function anchor(bytes32 root, IEscrow.Range[] memory list) internal returns (bytes32) {
        vm.prank(provider);
        return batches.anchorBatch(root, list);
    }

    function recordSlot(uint256 slot) internal {
        uint256 height = beacon.heightOf(slot);
        if (vm.getBlockNumber() <= height) mine(height + 1 - vm.getBlockNumber());
        beacon.record(slot);
    }

    function trace(bytes32 batchId) internal {
        trace(batchId, keccak256("trace"));
    }

    function trace(bytes32 batchId, bytes32 root) internal {
        recordSlot(batches.batchOf(batchId).sampleSlot);
        passAudits(batchId);
        vm.prank(provider);
        batches.anchorTrace(batchId, root);
    }

    function passAudits(bytes32 batchId) internal {
        uint256 end = batches.batchOf(batchId).auditUntil;
        if (vm.getBlockTimestamp() <= end) mine(end + 1 - vm.getBlockTimestamp());
    }

    /// @dev One verdict for every draw and audit.
    function allOf(bytes32 batchId, uint8 verdict) internal view returns (bytes32 verdicts) {
        uint256 draws = 4 + batches.auditsOf(batchId).length;
        for (uint256 draw = 0; draw < draws; draw++) verdicts |= bytes32(uint256(verdict) << (248 - 8 * draw));
    }

    function commit(bytes32 batchId) internal {
        recordSlot(batches.batchOf(batchId).challengeSlot);
        vm.prank(provider);
        batches.commitAttestation(batchId, keccak256("attestation"));
    }

    /// @dev A batch whose committee is known.
    function judged(uint256 fee) internal returns (bytes32 batchId) {
        batchId = anchor(fee);
        toCommittee(batchId);
    }

    function toCommittee(bytes32 batchId) internal {
        trace(batchId);
        commit(batchId);
        recordSlot(batches.batchOf(batchId).committeeSlot);
    }

    function settle(bytes32 batchId, bytes32 verdicts) internal {
        settleAs(provider, batchId, quorumVotes(batchId, verdicts));
    }

    function status(bytes32 batchId) internal view returns (IBatches.Status) {
        return batches.batchOf(batchId).status;
    }

    function requireStatus(bytes32 batchId, IBatches.Status expected) internal view {
        eq(uint256(status(batchId)), uint256(expected), "status");
    }

    function ownerOf(uint256 key) internal pure returns (address) {
        return vm.addr(key + 100);
    }
}
