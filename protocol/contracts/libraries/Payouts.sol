// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {IBatches} from "../interfaces/IBatches.sol";
import {IEscrow} from "../interfaces/IEscrow.sol";
import {INodeRegistry} from "../interfaces/INodeRegistry.sol";

/// @title What leaves a batch's pot for voters, and what goes back to those who paid in advance
/// @dev Linked, not inlined: `Batches` has no room for its code. Runs as `Batches`, the only one who may pay out of a pot.
library Payouts {
    /// @notice Equal parts; what does not divide burns.
    function payVoters(
        IEscrow escrow,
        INodeRegistry registry,
        bytes32 batchId,
        address[] memory voters,
        uint256 amount
    ) public {
        uint256 each = amount / voters.length;
        uint256 burned = amount - each * voters.length;
        if (each > 0) {
            for (uint256 i = 0; i < voters.length; i++) escrow.pay(batchId, registry.payoutOf(voters[i]), each);
        }
        if (burned > 0) escrow.burn(batchId, burned);
        emit IBatches.VotersPaid(batchId, each, burned);
    }

    /// @param slashed base units of the lock that are lost.
    /// @param burnBps share of them that burns, if anybody voted.
    /// @param floor prepaid by the provider; `auditFee` by the consumer of each audit.
    struct Closing {
        IEscrow escrow;
        INodeRegistry registry;
        bytes32 batchId;
        uint256 slashed;
        uint256 burnBps;
        uint256 floor;
        uint256 auditFee;
    }

    /// @notice Ends a condemned batch. Its voters share what does not burn of the slash, the floor and the bonds of appeals that were lost.
    function close(
        Closing memory c,
        IBatches.Batch storage b,
        address[] storage list,
        IBatches.Appeal[] storage appeals,
        IBatches.Audit[] storage audits,
        IBatches.RangeRecord[] storage ranges
    ) external {
        address[] memory voters = list;
        while (list.length > 0) list.pop();
        uint256 rewarded = voters.length == 0 ? 0 : c.slashed * (10_000 - c.burnBps) / 10_000;
        if (c.slashed > 0) {
            c.registry.slash(c.batchId, c.slashed - rewarded, rewarded);
            emit IBatches.BatchSlashed(c.batchId, c.slashed - rewarded, rewarded);
        }
        c.registry.unlock(c.batchId);
        if (voters.length == 0) {
            returnBonds(c.escrow, c.batchId, appeals);
            // After silence it went back at once.
            if (b.attestation != 0) {
                returnPrepaid(c.escrow, c.batchId, b.provider, c.floor, c.auditFee, audits, ranges);
            }
        } else {
            uint256 prepaid = c.floor + audits.length * c.auditFee;
            payVoters(c.escrow, c.registry, c.batchId, voters, rewarded + _takeBonds(appeals) + prepaid);
        }
    }

    /// @notice The provider's floor and the consumers' audits.
    function returnPrepaid(
        IEscrow escrow,
        bytes32 batchId,
        address provider,
        uint256 floor,
        uint256 auditFee,
        IBatches.Audit[] storage audits,
        IBatches.RangeRecord[] storage ranges
    ) public {
        if (floor > 0) escrow.pay(batchId, provider, floor);
        if (auditFee == 0) return;
        for (uint256 i = 0; i < audits.length; i++) {
            escrow.pay(batchId, ranges[audits[i].range].consumer, auditFee);
        }
    }

    /// @notice All bonds to those who laid them down.
    function returnBonds(IEscrow escrow, bytes32 batchId, IBatches.Appeal[] storage appeals) public {
        while (appeals.length > 0) _returnLast(escrow, batchId, appeals);
    }

    /// @notice The bond of the latest appeal.
    function returnLastBond(IEscrow escrow, bytes32 batchId, IBatches.Appeal[] storage appeals) external {
        _returnLast(escrow, batchId, appeals);
    }

    /// @notice Adds to a list of voters.
    function append(address[] storage list, address[] calldata voters) external {
        for (uint256 i = 0; i < voters.length; i++) list.push(voters[i]);
    }

    /// @dev Sum of the bonds, which belong to nobody then.
    function _takeBonds(IBatches.Appeal[] storage appeals) private returns (uint256 bonds) {
        for (; appeals.length > 0; appeals.pop()) bonds += appeals[appeals.length - 1].bond;
    }

    function _returnLast(IEscrow escrow, bytes32 batchId, IBatches.Appeal[] storage appeals) private {
        IBatches.Appeal memory last = appeals[appeals.length - 1];
        appeals.pop();
        emit IBatches.BondReturned(batchId, last.appellant, last.bond);
        escrow.pay(batchId, last.appellant, last.bond);
    }
}
