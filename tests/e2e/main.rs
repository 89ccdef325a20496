//! Federations of real processes: what they promise through outages, kills, lost disks, forks, hostile peers and damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod below;
mod bundle;
mod callers;
mod charters;
mod chinese;
mod clocks;
mod clones;
mod crash;
mod epochs;
mod evidence;
mod expected;
mod federation;
mod fork;
mod gate;
mod hostile;
mod in_force;
mod joining;
mod journal;
mod links;
mod looking;
mod mistakes;
mod nodes;
mod only_copy;
mod outage;
mod outputs;
mod pages;
mod places;
mod repair;
mod replace;
mod slow;
mod staged;
mod system;
mod twenty;
mod verify;
