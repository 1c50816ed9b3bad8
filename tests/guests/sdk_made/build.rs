//! Typed rows and names out of `plugin.toml`.

fn main() {
    rowgate_plugin_build::generate();
}
