//! The heart's decisions, one at a time. That no order of events breaks a promise is the simulator's business.
