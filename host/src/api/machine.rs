//! The steps that make an integration: what the plugin's manifest asks for, in its order, then how to
//! use what was made.

use super::answer::Step;
use super::call::Call;
use super::failure::Failure;
use crate::app::integrations::{Described, Draft, Question, Refusal};
use crate::store::integrations::Integration;

/// The step that chooses the integration to hang under.
pub(super) const DEPENDENCY: &str = "dependency_choice";
/// The name under which answers are posted.
pub(super) const VALUE: &str = "value";

/// The next step of a draft: a question, or the integration that it has become.
pub(super) async fn advance(call: &Call, draft: Draft) -> Result<Step, Failure> {
    if let Some(candidates) = draft.candidates(&call.app).await? {
        return match candidates.offered() {
            Ok(offered) => {
                draft.store(&call.app).await?;
                Ok(ask_parent(&url(call, draft.id(), DEPENDENCY), offered))
            }
            // Nothing is left of it.
            Err(none @ Refusal::NoParent { .. }) => {
                call.app.store.delete_draft(draft.id()).await?;
                Ok(Step::complete(none.to_string()).error("no_candidate_dependency"))
            }
            Err(other) => Err(other.into()),
        };
    }
    if let Some(question) = draft.questions().first() {
        draft.store(&call.app).await?;
        return Ok(ask(&url(call, draft.id(), &question.step), question));
    }
    let created = draft.create(&call.app).await?;
    Ok(Step::complete(instructions(call, &created.described)))
}

/// What a draft is told by the answer to a step.
pub(super) async fn take(
    call: &Call,
    draft: &mut Draft,
    step: &str,
    value: &str,
) -> Result<(), Failure> {
    if step == DEPENDENCY {
        if let Some(candidates) = draft.candidates(&call.app).await? {
            let chosen = candidates.numbered(value).map_err(under_value)?.clone();
            draft.choose(&chosen);
        }
        return Ok(());
    }
    let Some(name) = draft.setting(step).map(str::to_owned) else {
        return Err(Failure::invalid("invalid_input", format!("There is no step `{step}`")));
    };
    let taken = match value.trim() {
        "" => draft.answer_empty(&name, call.app.store.chance()),
        _ => draft.answer(&name, value, call.is_operator()),
    };
    taken.map_err(under_value)
}

/// The next step of an integration that is there.
pub(super) fn of_existing(call: &Call, of: &Described, open: &[Question]) -> Step {
    match open.first() {
        Some(question) => ask(&url(call, &of.integration.id, &question.step), question),
        None => Step::complete(instructions(call, of)),
    }
}

/// What was wrong with a value is told under the name that it was posted under.
pub(super) fn under_value(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Invalid { reason, .. } | Refusal::Operator { reason, .. } => {
            Failure::field(VALUE, reason)
        }
        other => other.into(),
    }
}

fn url(call: &Call, integration: &str, step: &str) -> String {
    let organization = call.organization().id;
    format!("/v1/organizations/{organization}/service_integrations/{integration}/transition/{step}")
}

fn ask(url: &str, question: &Question) -> Step {
    let output = match (&question.default, question.generated) {
        (_, true) => "Leave it empty to have one made; it is shown at the end.".to_owned(),
        (Some(default), false) => format!("Leave it empty to take {default}."),
        (None, false) => String::new(),
    };
    Step::ask(&question.prompt, url, VALUE).secret(question.secret).output(output)
}

fn ask_parent(url: &str, offered: &[Integration]) -> Step {
    let numbered = offered.iter().enumerate();
    let lines: Vec<String> =
        numbered.map(|(at, one)| format!("{} - {}", at + 1, one.table_name)).collect();
    let output = format!(
        "This depends on another integration. Which one? Press Enter for the first.\n{}",
        lines.join("\n")
    );
    Step::ask("Parent integration number:", url, VALUE).output(output)
}

/// How to use an integration. Its secret is for admins, who alone come here.
fn instructions(call: &Call, of: &Described) -> String {
    let mut lines = vec![
        format!("{} is ready: {}", of.integration.service, of.integration.id),
        format!("Table: {}", of.integration.table_name),
    ];
    if let Some((header, secret)) = &of.webhook_secret {
        lines.push(format!("Post to: {}", of.endpoint));
        lines.push(format!("With the header {header}: {}", **secret));
        if let Some(body) = &of.example_body {
            lines.push(format!("And a body like {body}"));
        }
    }
    lines.push("Query it:".to_owned());
    lines.push(format!(
        "  rowgate db sql --org {} 'select * from {}'",
        call.organization().key,
        of.integration.table_name
    ));
    lines.join("\n")
}
