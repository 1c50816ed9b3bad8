//! The host dies after it stored a post and before it answered: the backend can't know which of its
//! posts took effect. Those that were answered must have, the others may have, each as a whole.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tests::{TestHost, Tree};
use tokio::task::JoinSet;

use crate::posts::{Post, email};
use crate::{power, settings};

const ROUNDS: u64 = 4;
/// Posts that are sent at once, each of an owner of its own.
const POSTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_post_has_its_effect_and_the_others_have_it_whole_or_not_at_all() {
    let mut host = settings().start().await;
    let tree = host.integrations().await;
    let (mut answered, mut stored_unanswered) = (0, 0);
    for round in 0..ROUNDS {
        let posts: Vec<Post> =
            (0..POSTS).map(|n| Post::linked(&host, &format!("owner {round}-{n}"))).collect();
        let accepted = send_until_death(&mut host, &tree, &posts, 1 + 3 * round).await;
        if round % 2 == 1 && !tests::is_on_postgres() {
            power::lose(host.data_dir(), &mut ChaCha8Rng::seed_from_u64(round));
        }
        host.restart().await;
        host.settle().await;
        let linked = linked(&host, &tree).await;
        let lost: Vec<&String> = accepted.difference(&linked).collect();
        assert!(lost.is_empty(), "round {round}: answered, but without effect: {lost:?}");
        for owner in &linked {
            tree.note_linked(owner, Some(&email(owner)));
        }
        host.assert_matches_model(&tree).await;
        answered += accepted.len();
        let of_round = posts.iter().filter(|post| linked.contains(post.owner()));
        stored_unanswered += of_round.filter(|post| !accepted.contains(post.owner())).count();
        // The backend sends again what it got no answer for.
        for post in posts.iter().filter(|post| !accepted.contains(post.owner())) {
            assert!(post.send(&host, &tree).await, "round {round}: the host is gone again");
        }
        host.settle().await;
        host.assert_matches_model(&tree).await;
    }
    println!("{answered} answered, {stored_unanswered} stored without an answer");
    assert!(answered > 0 && stored_unanswered > 0, "both kinds must be met");
}

/// Sends all at once to a host that dies at the `count`-th that it stored. Returns the owners whose
/// posts were answered.
async fn send_until_death(
    host: &mut TestHost,
    tree: &Tree,
    posts: &[Post],
    count: u64,
) -> BTreeSet<String> {
    host.set_env("ROWGATE_FAILPOINT", Some(&format!("webhook_stored:{count}")));
    host.restart().await;
    let mut sent = JoinSet::new();
    for post in posts {
        let (owner, request) = (post.owner().to_owned(), post.request(host, tree));
        sent.spawn(async move {
            let answer = request.send().await.ok()?;
            assert_eq!(answer.status().as_u16(), 202, "{owner}");
            Some(owner)
        });
    }
    let accepted: BTreeSet<String> = sent.join_all().await.into_iter().flatten().collect();
    assert!(accepted.len() < posts.len(), "the host must die");
    host.kill().await;
    host.set_env("ROWGATE_FAILPOINT", None);
    accepted
}

/// Owners that the host links: each has a row in the root's table.
async fn linked(host: &TestHost, tree: &Tree) -> BTreeSet<String> {
    let rows = host.sql(&format!("select external_owner_id as o from {}", tree.list.table)).await;
    rows.iter().filter_map(|row| row["o"].as_str().map(str::to_owned)).collect()
}
