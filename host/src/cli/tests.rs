//! The command line speaks the language of WebhookDB's client: what is typed for that one is understood.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Its commands, each of their names and each of their flags, but for what has no meaning here: `update`,
/// `docs` and `version`, another place for a mirror (`dbsync update --schema --table`), and `-f` of `--field`
/// beside `--value`.
const THEIRS: [&str; 97] = [
    "auth whoami -f json",
    "auth whoami --format table",
    "auth login",
    "auth login --username a@b.example --token 123456",
    "auth login --email a@b.example",
    "auth signup -u a@b.example -t 123456",
    "auth signin",
    "auth register",
    "auth logout",
    "auth logout --remove",
    "auth logout -r",
    "backfill svi_1",
    "backfill -o acme -i svi_1",
    "backfill --org acme --integration svi_1",
    "backfill reset svi_1",
    "backfill reset -o acme -i svi_1",
    "backfill -o acme reset svi_1",
    "db connection -o acme",
    "db tables --org acme",
    "db sql -o acme select",
    "db sql --color --query select",
    "db sql -c -u select",
    "db roll-credentials -o acme",
    "db fdw -o acme --raw --all",
    "db fdw --fdw --remote r --fetch 50000 --into-schema s --views-schema v",
    "db fdw --views --raw",
    "db rename-table svi_1 --new-name things",
    "db rename-table -o acme -i svi_1 -n things",
    "db migrations start -o acme --admin-url postgres://a --readonly-url postgres://b",
    "db migrations start -a postgres://a -r postgres://b",
    "db migrations list -o acme -f csv",
    "error-handlers create -o acme --url https://a.example",
    "error-handler create -u https://a.example",
    "error-handlers list -o acme -f json",
    "error-handlers delete -o acme --error-handler oeh_1",
    "error-handlers delete -e oeh_1",
    "error-handlers delete oeh_1",
    "fixtures --service thing_v1",
    "fixture -s thing_v1",
    "fixtures thing_v1",
    "integrations create -o acme --service thing_v1 --confirm",
    "integration create -s thing_v1 -c",
    "integrations create thing_v1",
    "integrations delete -o acme -i svi_1 --confirm things",
    "integrations delete svi_1 -c things",
    "integrations info -o acme --integration svi_1 --field url",
    "integrations info -f url svi_1",
    "integrations list -o acme -f json",
    "integrations setup -o acme -i svi_1",
    "integrations reset svi_1",
    "integrations roll-key -i svi_1",
    "integrations stats -i svi_1 -f json",
    "org activate acme",
    "orgs activate -o acme",
    "organization changerole -o acme --usernames a@b.example,c@d.example --role admin",
    "organizations change-role --usernames a@b.example -r member",
    "org close -o acme",
    "org create --name Acme",
    "org create -n Acme",
    "org join --code join-1",
    "org join -c join-1",
    "org invite -o acme --username a@b.example --role member",
    "org invite -u a@b.example -r admin",
    "org remove -o acme -u a@b.example",
    "org list",
    "org current",
    "org members -o acme -f json",
    "org update -o acme --field name --value Acme",
    "org update --field name -v Acme",
    "replay -o acme --integration svi_1 --hours 1 --before 2026-03-20T16:00:00Z",
    "replays -i svi_1 -r 1 -b 2026-03-20T16:00:00Z -a 2026-03-20T15:00:00Z",
    "replay --after 2026-03-20T15:00:00Z",
    "saved-query create -o acme --description d --sql select --public",
    "saved-queries create -d d",
    "custom-query create --desc d",
    "custom-queries list -o acme -f json",
    "saved-query update -o acme --saved-query svq_1 --field sql --value select",
    "saved-query edit -q svq_1 --field sql -v select",
    "saved-query modify svq_1 --field public --value true",
    "saved-query info -o acme -q svq_1 --field id",
    "saved-query info -f id svq_1",
    "saved-query run --saved-query svq_1 --color",
    "saved-query run -q svq_1 -c",
    "saved-query delete --saved-query svq_1",
    "saved-view create-or-replace -o acme --name v --sql select",
    "saved-views create -n v",
    "view replace -n v",
    "views new -n v",
    "view update -n v",
    "views list -o acme -f json",
    "view delete --name v",
    "view delete -n v",
    "services list -o acme -f json",
    "service list",
    "subscription info -o acme -f json",
    "subscriptions plans -o acme -f json",
    "sub edit -o acme --plan yearly",
];
/// The same of both kinds of targets, and of both names of notifications.
const OF_TARGETS: [&str; 14] = [
    "create -o acme --integration svi_1 --connection-url https://u:p@a.example --period 60",
    "create -i svi_1 -u https://u:p@a.example",
    "create svi_1",
    "delete -o acme --target syt_1",
    "delete -t syt_1",
    "delete syt_1",
    "list -o acme -f json",
    "update -o acme --target syt_1 --period 60",
    "update -t syt_1 --period 60",
    "update-creds -o acme --target syt_1 --user u --password p",
    "update-creds -t syt_1 -u u -p p",
    "update-creds syt_1",
    "trigger -o acme --target syt_1",
    "trigger -t syt_1",
];
const OF_NOTIFICATIONS: [&str; 7] = [
    "create -o acme --integration svi_1 --url https://a.example --secret s",
    "create -i svi_1",
    "list -o acme -f json",
    "test -o acme --notification wsb_1",
    "test -n wsb_1",
    "delete -o acme --notification wsb_1",
    "delete wsb_1",
];

#[test]
fn the_commands_of_webhookdbs_client_are_understood() {
    let mut all: Vec<String> = THEIRS.map(str::to_owned).to_vec();
    for name in ["httpsync", "dbsync", "sync"] {
        all.extend(OF_TARGETS.map(|rest| format!("{name} {rest}")));
    }
    for name in ["notification", "notifications", "webhook", "webhooks"] {
        all.extend(OF_NOTIFICATIONS.map(|rest| format!("{name} {rest}")));
    }
    for more in [
        "httpsync create svi_1 --pagesize 10",
        "httpsync update syt_1 --pagesize 10",
        "dbsync create svi_1 --schema s --table t",
        "subs info",
    ] {
        all.push(more.to_owned());
    }
    for line in all {
        let words = ["rowgate"].into_iter().chain(line.split(' '));
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn an_id_is_said_once() {
    for line in [
        "httpsync trigger",
        "httpsync trigger syt_1 -t syt_2",
        "dbsync create",
        "saved-query run",
        "saved-query run svq_1 -q svq_2",
        "backfill",
        "backfill reset",
        "db sql",
        "db sql select -u select",
        "db fdw --all --views",
        "httpsync rewind syt_1",
        "httpsync rewind syt_1 --beginning --number 1",
    ] {
        let words = ["rowgate"].into_iter().chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn no_two_arguments_have_one_name() {
    Cli::command().debug_assert();
}
