//! What a command works on, said as an argument or, as WebhookDB's client has it too, by a flag.

/// Makes the struct of it, to be flattened into a command: what it is, how it is called in the help, the flag
/// and its short form.
macro_rules! named {
    ($(#[$says:meta])* $name:ident, $value:literal, $long:literal, $short:literal) => {
        #[derive(Debug, clap::Args)]
        pub(in crate::cli) struct $name {
            $(#[$says])*
            #[arg(value_name = $value, required_unless_present = "named")]
            argument: Option<String>,
            /// The same
            #[arg(long = $long, short = $short, value_name = $value, id = "named")]
            #[arg(conflicts_with = "argument")]
            named: Option<String>,
        }

        impl $name {
            pub(in crate::cli) fn name(&self) -> String {
                self.argument.clone().or_else(|| self.named.clone()).unwrap_or_default()
            }
        }
    };
}

pub(super) use named;
