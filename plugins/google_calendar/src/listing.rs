//! A listing's place: the sync token with everything it is bound to, and the page.

use rowgate_plugin::{Answer, Context, Failure, Pages, Request, Result};
use serde::{Deserialize, Serialize};

use crate::api;
use crate::refusal::Refusal;

/// Where a list of Google's stands. A sync token is good only for the page size and parameters that
/// it was made with, so the size is pinned here, and the parameters never change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// `maxResults`.
    size: u32,
    /// Sync token. None: a full listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default)]
    pages: Pages,
}

/// What came of asking for a page.
#[derive(Debug)]
pub(crate) enum Got {
    /// A page.
    Page(Answer),
    /// The page token was dead; the listing begins again at its first page, with the same sync token.
    Again,
    /// Forbidden or not found, and why.
    Unreadable(String),
}

impl Listing {
    pub(crate) fn new(size: u32) -> Self {
        Self { size, token: None, pages: Pages::default() }
    }

    /// Items asked for at once.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Is everything listed, rather than what changed?
    pub(crate) fn is_full(&self) -> bool {
        self.token.is_none()
    }

    /// Is the next page the first?
    pub(crate) fn is_at_first_page(&self) -> bool {
        !self.pages.started()
    }

    /// Can it go on at this page limit? A smaller page would need another sync token.
    pub(crate) fn fits(&self, page_limit: u32) -> bool {
        self.size <= page_limit
    }

    /// Asks for the next page.
    pub(crate) fn get(&mut self, cx: &Context, request: Request) -> Result<Got> {
        let request = request
            .page()
            .query("maxResults", self.size)
            .query_some("syncToken", self.token.as_deref())
            .query_some("pageToken", self.pages.token());
        let answer = api::call(cx, &request)?;
        if answer.status == 200 {
            return Ok(Got::Page(answer));
        }
        let refusal = Refusal::of(&answer);
        let paging = self.pages.started();
        match answer.status {
            // On a list the status alone decides: some carry no reason, and it comes mid-paging too.
            410 => Err(Failure::CursorExpired(refusal.text())),
            400 if paging && self.pages.restart() => Ok(Got::Again),
            400 if paging || self.token.is_some() => Err(Failure::CursorExpired(refusal.text())),
            _ if refusal.is_unreadable() => Ok(Got::Unreadable(refusal.text())),
            _ => Err(refusal.failure_of_page(cx.now)),
        }
    }

    /// Goes on to the next page. True: that was the last. Then `sync_token` counts; none means that
    /// the next listing is a full one.
    pub(crate) fn turn(
        &mut self,
        page: Option<String>,
        sync_token: Option<String>,
    ) -> Result<bool> {
        if let Some(page) = page.filter(|token| !token.is_empty()) {
            self.pages.advance(page)?;
            return Ok(false);
        }
        self.token = sync_token.filter(|token| !token.is_empty());
        self.pages = Pages::default();
        Ok(true)
    }
}
