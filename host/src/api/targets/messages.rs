//! What is said of what was done to a target.

const DELIVERED_NOW: &str = "What there is is delivered now.";
const TAKEN: &str = "They were taken there.";

/// `begins_with_copy`: it is told of deletions from now on.
pub(super) fn updated(is_changed: bool, begins_with_copy: bool) -> &'static str {
    match (is_changed, begins_with_copy) {
        (false, _) => "Nothing was changed: the target was so already.",
        (true, false) => "The target is changed.",
        (true, true) => {
            "The target is changed. It gets a copy of the whole table, behind which it lets go of what \
             was deleted before; from then on it is told of each deletion."
        }
    }
}

/// `pause`: why it was paused, which is over.
pub(super) fn triggered(pause: Option<&str>) -> String {
    match pause {
        None => DELIVERED_NOW.to_owned(),
        Some(reason) => format!("Its pause is over ({reason}). {DELIVERED_NOW}"),
    }
}

/// `pause`: why it was paused. `stands`: what is said of a pause that isn't over.
pub(super) fn credentials_taken(pause: Option<&str>, stands: Option<&str>) -> String {
    match (pause, stands) {
        (_, Some(stands)) => format!("{TAKEN} But {stands}."),
        (None, None) => TAKEN.to_owned(),
        (pause, None) => format!("{TAKEN} {}", triggered(pause)),
    }
}

pub(super) fn rewound(is_paused: bool) -> &'static str {
    match is_paused {
        false => "Everything since then is sent again.",
        true => "Everything since then is sent again once the target is resumed: it is paused.",
    }
}

/// `untold`: why its mirror, which stands in `schema`, doesn't know of that.
pub(super) fn deleted(untold: Option<&str>, schema: &str, id: &str) -> String {
    match untold {
        None => "The target is forgotten.".to_owned(),
        Some(reason) => format!(
            "The target is forgotten. But its mirror couldn't be told ({reason}), and may stay marked as the \
             target's there. Before another target takes that table, do this in its database: \
             delete from \"{schema}\".rowgate_mirrors where target = '{id}'"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_was_not_told_is_left_marked() {
        assert_eq!(deleted(None, "public", "syt_1"), "The target is forgotten.");
        let left = deleted(Some("no connection"), "public", "syt_1");
        for said in
            ["(no connection)", "delete from \"public\".rowgate_mirrors where target = 'syt_1'"]
        {
            assert!(left.contains(said), "{left}");
        }
    }

    #[test]
    fn an_update_that_changes_nothing_says_so() {
        for (is_changed, copy, said, unsaid) in [
            (false, false, "Nothing was changed", "copy"),
            (true, false, "The target is changed", "copy"),
            (true, true, "a copy of the whole table", "Nothing"),
        ] {
            let message = updated(is_changed, copy);
            assert!(message.contains(said) && !message.contains(unsaid), "{message}");
        }
    }

    #[test]
    fn a_pause_is_told_of() {
        assert_eq!(triggered(None), DELIVERED_NOW);
        let over = "Its pause is over (it failed). What there is is delivered now.";
        assert_eq!(triggered(Some("it failed")), over);
        let taken = format!("They were taken there. {over}");
        let stands = Some("the target has been paused since then");
        for (pause, stands, said) in [
            (None, None, "They were taken there."),
            (Some("it failed"), None, taken.as_str()),
            (
                Some("they move"),
                stands,
                "They were taken there. But the target has been paused since then.",
            ),
        ] {
            assert_eq!(credentials_taken(pause, stands), said);
        }
        assert!(rewound(true).contains("it is paused") && !rewound(false).contains("paused"));
    }
}
