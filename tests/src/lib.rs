//! The project's integration tests: the real host, real components, the simulator, over real sockets.
//!
//! [`TestHost`] is a host process on a data directory of its own beside a simulator in process.
//! [`Tree`] is the integrations of one Google client; posts, tables and the comparison with the
//! simulator's model take the tree they speak of. Guests other than the plugins talk to a
//! [`Vendor`], and [`LeakScanner`] looks for secrets in what they leave behind.

mod comparison;
mod databases;
mod host;
mod in_process;
mod leak;
mod log;
mod post;
mod process;
mod storage;
mod table;
mod template;
mod tree;
mod vendor;

pub use databases::us_until;
pub use host::{Settings, TestHost};
pub use leak::LeakScanner;
pub use process::{guest_component, host_binary, plugin_component};
pub use storage::{is_on_postgres, is_soak};
pub use tree::{Integration, Tree};
pub use vendor::{Vendor, VendorAnswer, VendorRequest};
