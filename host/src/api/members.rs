//! Members of an organization, and invitations.

use serde_json::json;

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Json::{ObjectOrNull, Text};
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use super::login::address;
use super::organizations;
use crate::mail::Message;
use crate::store::memberships::{InvitationLimits, Role};

const MEMBER: &[Field] = &[
    field("email", "Email", Text),
    field("name", "Name", Text),
    field("role", "Role", Text),
    field("status", "Status", Text),
];
const INVITED: &[Field] = &[
    field("email", "Email", Text),
    field("role", "Role", Text),
    field("invitation_code", "Code", Text),
];
/// WebhookDB's client makes it the organization of what follows.
const JOINED: &[Field] = &[field("organization", "", ObjectOrNull)];
const CHANGED: &[Field] = &[];

const ROLES: Kind = Kind::OneOf(&["admin", "member"]);
const EMAIL: Param = Param::text("email", "The address").asked("Email address:");

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/organizations/{org}/members",
            "Members, and who is invited",
            Access::Member,
            &[],
            &[(200, Shape::Collection(MEMBER))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            "/v1/organizations/join",
            "Accept an invitation",
            Access::Customer,
            const {
                &[Param::text("invitation_code", "The code of the invitation")
                    .asked("Code of your invitation (join-...):")]
            },
            &[(200, Shape::Single(JOINED))],
            |call| Box::pin(join(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/invite",
            "Invite an address",
            Access::Admin,
            const { &[EMAIL, Param::text("role_name", "As what; member if empty").of(ROLES)] },
            &[(200, Shape::Single(INVITED))],
            |call| Box::pin(invite(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/remove_member",
            "Remove a member, or take an invitation back",
            Access::Admin,
            const { &[EMAIL, Param::text("guard_confirm", "Sent, whatever it is: don't ask")] },
            &[(200, Shape::Single(CHANGED))],
            |call| Box::pin(remove(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/change_roles",
            "Give members another role",
            Access::Admin,
            const {
                &[
                    Param::text("emails", "Addresses")
                        .of(Kind::Texts)
                        .asked("Addresses, with commas between:"),
                    Param::text("role_name", "The role").of(ROLES).asked("Role (admin, member):"),
                ]
            },
            &[(200, Shape::Single(CHANGED))],
            |call| Box::pin(change_roles(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let members = call.app.store.members(call.organization().id).await?;
    let items = members.into_iter().map(|member| {
        let status = if member.accepted { "active" } else { "invited" };
        let role = member.role.name();
        json!({ "email": member.email, "name": member.name, "role": role, "status": status })
    });
    Ok(Answer::collection(items.collect(), "There is nobody yet.", MEMBER))
}

async fn join(call: Call) -> Result<Answer, Failure> {
    let unknown = || {
        let reason = "is no code of an invitation for your address";
        Failure::field("invitation_code", reason)
    };
    let email = call.email().ok_or_else(unknown)?;
    let code = call.values.text("invitation_code");
    let joined = call.app.store.join(email, &code).await?.ok_or_else(unknown)?;
    let message = format!("You belong to {} now.", joined.name);
    Ok(Answer::single(json!({ "organization": organizations::entity(&joined) }), message, JOINED))
}

async fn invite(call: Call) -> Result<Answer, Failure> {
    let email = address("email", &call.values.text("email"))?;
    let role = Role::parse(&call.values.text("role_name")).unwrap_or(Role::Member);
    let limits = &call.app.config.limits;
    let limits =
        InvitationLimits { waiting: limits.invitations_max, a_day: limits.invitations_a_day_max };
    let code = call.app.store.invite(call.organization().id, &email, role, limits).await?;
    let url = call.app.public_url();
    let message = match &call.app.mailer {
        Some(mailer) => {
            mailer.post(&email, &Message::invitation(&call.organization().name, &code, &url));
            format!("{email} is invited, and was mailed the code {code}.")
        }
        None => format!(
            "{email} is invited. Tell them to log in to {url} and to accept with the code {code}."
        ),
    };
    let entity = json!({ "email": email, "role": role.name(), "invitation_code": code });
    Ok(Answer::single(entity, message, INVITED))
}

async fn remove(call: Call) -> Result<Answer, Failure> {
    let email = address("email", &call.values.text("email"))?;
    if !call.values.has("guard_confirm") {
        let prompt = format!(
            "Remove {email} from {}? Press Enter to go on, or Ctrl+C to stop:",
            call.organization().name
        );
        let mut step = Step::ask(prompt, &call.url, "guard_confirm");
        step.post_params = call.values.sent().clone();
        return Err(Failure::prompt("guard_confirm", &step));
    }
    if !call.app.store.remove_member(call.organization().id, &email).await? {
        return Err(Failure::field("email", "is no member's"));
    }
    let message = format!("{email} doesn't belong to {} any more.", call.organization().name);
    Ok(Answer::single(json!({}), message, CHANGED))
}

async fn change_roles(call: Call) -> Result<Answer, Failure> {
    let emails = call.values.texts("emails");
    let emails: Vec<String> =
        emails.iter().map(|email| address("emails", email)).collect::<Result<_, _>>()?;
    if emails.is_empty() {
        return Err(Failure::field("emails", "must be addresses, with commas between"));
    }
    let Some(role) = Role::parse(&call.values.text("role_name")) else {
        return Err(Failure::field("role_name", "must be admin or member"));
    };
    let of = call.organization().id;
    let unknown = call.app.store.change_roles(of, emails.clone(), role).await?;
    Ok(Answer::single(json!({}), roles_changed(&emails, &unknown, role), CHANGED))
}

/// `unknown`: those of them who are no members.
fn roles_changed(emails: &[String], unknown: &[String], role: Role) -> String {
    let known: Vec<&str> =
        emails.iter().filter(|email| !unknown.contains(email)).map(String::as_str).collect();
    let mut sentences = Vec::new();
    if !known.is_empty() {
        sentences.push(format!("Now {}: {}.", role.name(), known.join(", ")));
    }
    if !unknown.is_empty() {
        sentences.push(format!("Not in the organization: {}.", unknown.join(", ")));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_role_was_changed_is_told() {
        let texts =
            |all: &[&str]| -> Vec<String> { all.iter().map(|one| (*one).to_owned()).collect() };
        let cases: [(&[&str], &[&str], &str); 3] = [
            (&["a@x", "b@x"], &[], "Now admin: a@x, b@x."),
            (&["a@x", "b@x"], &["a@x"], "Now admin: b@x. Not in the organization: a@x."),
            (&["a@x"], &["a@x"], "Not in the organization: a@x."),
        ];
        for (emails, unknown, told) in cases {
            assert_eq!(roles_changed(&texts(emails), &texts(unknown), Role::Admin), told);
        }
    }
}
