// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Vm} from "../Harness.sol";

/// @dev The token with hooks: whoever is told of a transfer is told before and after it, whoever sends or receives. Its storage is that of
/// `SinterToken`, in whose place it is put, with the hook behind it.
contract HookToken is ERC20, ERC20Permit, ERC20Burnable, ERC20Capped {
    address public immutable minter;
    uint256 public minted;
    Intruder public hook;

    constructor(uint256 cap_, address minter_) ERC20("Sinter", "SNTR") ERC20Permit("Sinter") ERC20Capped(cap_) {
        minter = minter_;
    }

    function setHook(Intruder hook_) external {
        hook = hook_;
    }

    function mint(address to, uint256 amount) external {
        require(msg.sender == minter);
        minted += amount;
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Capped) {
        if (address(hook) != address(0)) hook.moved();
        super._update(from, to, amount);
        if (address(hook) != address(0)) hook.moved();
    }
}

/// @dev Tries a list of calls whenever it is told that tokens move. It speaks for anybody: since EIP-7702 every account may have code.
contract Intruder {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct Attempt {
        address by;
        address target;
        bytes data;
    }

    Attempt[] private _attempts;
    bool private _inside;
    /// @dev How often it was called, and how many of its calls went through from within.
    uint256 public entered;
    uint256 public succeeded;

    function plan(address by, address target, bytes calldata data) external {
        _attempts.push(Attempt(by, target, data));
    }

    function moved() external {
        if (_inside) return;
        _inside = true;
        entered++;
        succeeded += run();
        _inside = false;
    }

    function run() public returns (uint256 done) {
        for (uint256 i = 0; i < _attempts.length; i++) {
            vm.prank(_attempts[i].by);
            (bool ok,) = _attempts[i].target.call(_attempts[i].data);
            if (ok) done++;
        }
    }

    // ---- a wallet that answers for a signature, and tries the same meanwhile

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        // Asked by STATICCALL, so nothing of this can go through.
        for (uint256 i = 0; i < _attempts.length; i++) {
            (bool ok,) = _attempts[i].target.call{gas: gasleft() / 4}(_attempts[i].data);
            if (ok) return 0xffffffff;
        }
        return this.isValidSignature.selector;
    }
}
