package broker

// authorizationMutants are mistakes with codes, which TestAuthorizations has to
// find.
var authorizationMutants = []mutant{
	{"delete state after exchange", "C1", []edit{
		{"callback.go", "\tif err == nil {\n\t\tfailpoint.Hit(\"state_taken\")", "\tif err == nil {\n\t\t_ = p.store.BeginAuthorization(ctx, begun, stateLife)\n\t\tfailpoint.Hit(\"state_taken\")"},
		{"exchange.go", exchanges, exchanges + "\t_, _ = v.pool.store.TakeAuthorization(ctx, begun.State)\n"},
	}},
	{"state stored after the request", "C4", []edit{
		{"login.go", "\tif err := a.pool.begin(ctx, a.ref, a.bound, authorization, l.request.ID); err != nil {\n\t\treturn nil, nil, l.abandon(ctx, o, errNotBegun, err)\n\t}\n", ""},
		{"login.go", "\ta.pool.fetched(a.ref.Realm, sent, err)\n", "\ta.pool.fetched(a.ref.Realm, sent, err)\n\t_ = a.pool.begin(ctx, a.ref, a.bound, authorization, l.request.ID)\n"},
	}},
	{"exchange without a claim", "I2", []edit{{"exchange.go", "d, began, err := x.claim(ctx, r)", "d, began, err := claim.Decision{Parent: a.stored.Lineage, Source: claim.FromCode}, time.Now(), error(nil)"}}},
	{"code sent again", "C1", []edit{{"send.go", "\t\tres, err = a.bound.Exchange(ctx, client, code.authorization, code.value, req)\n", `
		res, err = a.bound.Exchange(ctx, client, code.authorization, code.value, req)
		if err != nil {
			res, err = a.bound.Exchange(ctx, client, code.authorization, code.value, req)
		}
`}}},
	{"claim not kept for the callback", "C3", []edit{{"../claim/repair.go", awaiting, "c.Phase = tokenstore.PhaseAwaiting"}}},
	{"claim given back before the callback", "C3", []edit{{"../claim/repair.go", awaiting, "closeClaim(c)"}}},
	{"code of another secret", "C2", []edit{
		{"exchange.go", "begun.Fingerprint != a.bound.Fingerprint()", "false"},
		{"exchange.go", "begun.Client != a.bound.ClientDigest()", "false"}, // the login is a part of what is asked for
	}},
	{"callback to any realm", "C2", []edit{{"exchange.go", "if realmID != begun.Ref.Realm {", "if false {"}}},
	{"kept beside a new consent", "C5", []edit{{"../claim/settle.go", "\t\tc.Candidates = nil\n", ""}}},
	{"consent set aside", "C7 I3", []edit{{"../claim/settle.go", " && !r.IsByPerson() {\n\t\tsaveLate", " {\n\t\tsaveLate"}}},
	{"told before it is saved", "C7", []edit{{"exchange.go", exchanges, "\tgo func() { _, _, _ = x.run(context.WithoutCancel(ctx)) }()\n"}}},
	{"trouble kept after a consent", "I7 I10 C7", []edit{{"feed.go", "\t} else {\n\t\te.clearFailureLocked()\n\t}\n", "\t}\n"}}},
}

const (
	exchanges = "\t_, _, err = x.run(ctx)\n"
	awaiting  = "c.Phase, c.Deadline = tokenstore.PhaseAwaiting, s.Now.Add(wait)"
)
