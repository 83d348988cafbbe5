// Package broker answers "the token of (realm, key)": from memory, from the
// store, or by one call to the provider for everybody who asks. Which realms
// and secrets there are it learns from the catalog, which reports their changes:
// then the broker drops what its memory holds. Whether a call may be made, and
// what its outcome means for all nodes, is decided by package claim; the broker
// reads the clock, talks to the store and the provider, and lets callers wait.
//
// A [Pool] is what outlives a configuration: the handles of the store, the
// memory level, the flights, the schedule. A [View] is one configuration's face
// of it: it adds the realms and secrets that the configuration defines.
//
// The way of a token, and where it is written down:
//
//   - token.go: who asks; a hit of the memory level (entry.go) ends here.
//     recheck.go: what another node may have replaced.
//   - flight.go: all who ask for one (realm, key) wait for one flight.
//   - attempt.go: one try of a flight: memory, store, provider.
//   - claims.go: the claim on the call, and what its decision leads to.
//     await.go: somebody else makes the call.
//   - send.go: the call and its failure; save.go: its outcome, which is saved
//     before it is published; spool.go: what is saved later.
//   - login.go, exchange.go, callback.go, authorize.go: authorizations.
//   - outage.go, patience.go: what is done without the store.
//   - failure.go, earlydeaths.go: what this node remembers of what went wrong.
//   - schedule.go, realmqueue.go, lead.go, cron.go: renewals ahead of the end.
//   - feed.go, clock.go: the other nodes and their time.
//   - status.go, statuspage.go, history.go, stats.go, outlook.go, observe.go,
//     ready.go: what is seen from outside.
//     watch.go: changes as they happen; watchfeed.go: those of other nodes.
//
// docs/design.md describes that way, the states of a claim and the invariants.
package broker
