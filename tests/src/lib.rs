//! The project's integration tests: the real host, real components, the simulator, over real sockets.
