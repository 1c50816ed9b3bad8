use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn layers_override_each_other_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rowgate.toml");
    std::fs::write(
        &file,
        "org = \"from_file\"\n[server]\nlisten = \"127.0.0.1:1\"\npublic_url = \"https://f/\"\n",
    )
    .unwrap();
    let variables = environment(&[
        ("ROWGATE_LISTEN", "127.0.0.1:2"),
        ("ROWGATE_LOG_LEVEL", "debug"),
        ("ROWGATE_RUN_WORKERS", "3"),
        ("ROWGATE_PUSH_ALLOW_HTTP", "true"),
        ("ROWGATE_RETENTION_STALE_ROW_DAYS", "0"),
        ("ROWGATE_PORT", "tcp://10.0.0.1:80"),
        ("ROWGATE_DATA_DIR", dir.path().to_str().unwrap()),
    ]);
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
    let config = Config::resolve(&flags, variables).unwrap();
    assert_eq!(config.org, "from_file");
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.public_url(), "https://f");
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.run.workers, 3);
    assert!(config.push.allow_http);
    assert_eq!((config.retention.stale_row_days, config.retention.left_days), (0, 7));
    assert_eq!(config.server.connections_max, 1024);
    let listen = config.describe().into_iter().find(|(key, ..)| key == "server.listen").unwrap();
    assert_eq!(listen.2, "--listen");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let check = |text: &str, variables: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file), ..Flags::default() };
        format!("{:#}", Config::resolve(&flags, environment(variables)).unwrap_err())
    };
    assert!(check("[server]\nlistn = \"x\"", &[]).contains("unknown key `server.listn`"));
    assert!(check("org = 3", &[]).contains("`org` must be a string, not integer"));
    assert!(check("org = ", &[]).contains("c.toml"));
    assert!(check("", &[("ROWGATE_RUN_WORKERS", "many")]).contains("ROWGATE_RUN_WORKERS"));
    assert!(check("", &[("ROWGATE_PUSH_ALLOW_HTTP", "yes")]).contains("must be true or false"));
    assert!(check("", &[("ROWGATE_LISTEN", "here")]).contains("listen"));
    assert!(check("run = { workers = 0 }", &[]).contains("run.workers must be at least 1"));
    assert!(check("", &[("ROWGATE_DRAIN_MS", "10000")]).contains("less than"));
    assert!(check("[log]\nformat = \"xml\"", &[]).contains("format"));
}

#[test]
fn the_key_is_never_shown() {
    let variables = environment(&[("ROWGATE_KEY", "c2VjcmV0"), ("ROWGATE_DATA_DIR", "/nowhere")]);
    let config = Config::resolve(&Flags::default(), variables).unwrap();
    assert_eq!(config.key.given(), Some("c2VjcmV0"));
    assert!(!format!("{:?}", config.describe()).contains("c2VjcmV0"));
    assert!(!format!("{:?}", config.key).contains("c2VjcmV0"));
}

#[test]
fn a_second_host_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::new(dir.path().join("data"));
    data_dir.create().unwrap();
    let first = data_dir.lock().unwrap();
    assert!(data_dir.lock().unwrap_err().to_string().contains("another rowgate serves"));
    drop(first);
    data_dir.lock().unwrap();
}
