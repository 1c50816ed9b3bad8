//! The `rowgate` command.

fn main() -> std::process::ExitCode {
    rowgate::cli::main()
}
