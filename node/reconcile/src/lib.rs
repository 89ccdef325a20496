//! What a node does to keep its copy true: verify the disk, compare with neighbours, repair, restore, hear what the levels
//! above found, prove a record; and the tasks that run all this.

pub mod agree;
pub mod evidence;
pub mod task;
pub mod verdict;
pub mod verify;
