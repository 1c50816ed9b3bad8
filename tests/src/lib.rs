//! The project's integration tests: the real host, real components, the simulator, over real sockets.
//!
//! [`TestHost`] is a host process on a data directory of its own beside a simulator in process.
//! [`Tree`] is the integrations of one Google client; posts, tables and the comparison with the
//! simulator's model take the tree they speak of.

mod comparison;
mod host;
mod post;
mod process;
mod table;
mod template;
mod tree;

pub use host::{Settings, TestHost};
pub use process::host_binary;
pub use tree::{Integration, Tree};
