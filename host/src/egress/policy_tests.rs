use super::*;
use crate::egress::url_prefix::parse_target;
