//! Refusals of channels.

use super::ApiError;

impl ApiError {
    /// 400: the id belongs to a channel, even if to one that has ended.
    pub fn channel_id_not_unique(id: &str) -> Self {
        global(400, "channelIdNotUnique", &format!("Channel id {id} not unique"))
    }

    /// 400: holidays, birthdays and other calendars that Google makes.
    pub fn push_not_supported() -> Self {
        let message = "Push notifications are not supported by this resource.";
        Self::new(400, "calendar", "pushNotSupportedForRequestedResource", message)
    }

    /// 400: the address has no TLS.
    pub fn webhook_not_https(address: &str) -> Self {
        let message = format!("WebHook callback must be HTTPS: {address}");
        global(400, "push.webhookUrlNotHttps", &message)
    }

    /// 401: the project may not use the address.
    pub fn webhook_unauthorized(address: &str) -> Self {
        let message = format!("Unauthorized WebHook callback channel: {address}");
        global(401, "push.webhookUrlUnauthorized", &message)
    }

    /// 400: not a web hook.
    pub fn channel_type_not_supported(kind: &str) -> Self {
        let message = format!("Channel type {kind} not supported");
        global(400, "push.channelTypeNotSupported", &message)
    }

    /// 400: a field of the body is missing.
    pub fn required_field(name: &str) -> Self {
        global(400, "required", name)
    }

    /// 404: no such channel, it has ended, or it is somebody else's.
    pub fn channel_unknown(id: &str) -> Self {
        let message = format!("Channel '{id}' not found for project '490000000000'");
        global(404, "notFound", &message)
    }
}

fn global(status: u16, reason: &'static str, message: &str) -> ApiError {
    ApiError::new(status, "global", reason, message)
}

pub(super) fn preset(name: &str) -> Option<ApiError> {
    Some(match name {
        "channelIdNotUnique" => ApiError::channel_id_not_unique("channel-1"),
        "pushNotSupportedForRequestedResource" => ApiError::push_not_supported(),
        "push.webhookUrlNotHttps" => ApiError::webhook_not_https("http://example.com/"),
        "push.webhookUrlUnauthorized" => ApiError::webhook_unauthorized("https://example.com/"),
        "push.channelTypeNotSupported" => ApiError::channel_type_not_supported("pigeon"),
        "channelUnknown" => ApiError::channel_unknown("channel-1"),
        _ => return None,
    })
}
