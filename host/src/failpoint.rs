//! Places where a test lets the process die: `ROWGATE_FAILPOINT=name:count` aborts it at the
//! count-th arrival at the place of that name. Release builds have none.

/// Dies here if the environment says so.
pub(crate) fn reach(name: &str) {
    #[cfg(debug_assertions)]
    armed::reach(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var("ROWGATE_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':')?;
        Some(Armed { name: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
    });

    pub(super) fn reach(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            std::process::abort();
        }
    }
}
