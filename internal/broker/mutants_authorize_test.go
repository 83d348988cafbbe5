package broker

// authorizationMutants are mistakes with codes, which TestAuthorizations has to
// find.
var authorizationMutants = []mutant{
	{"delete state after exchange", "C1", []edit{
		{"callback.go", "\tif err == nil {\n\t\tfailpoint.Hit(\"state_taken\")", "\tif err == nil {\n\t\t_ = p.store.BeginAuthorization(ctx, begun, stateLife)\n\t\tfailpoint.Hit(\"state_taken\")"},
		{"callback.go", "\t_, _, err = t.exchange(ctx, begun, cb)\n", "\t_, _, err = t.exchange(ctx, begun, cb)\n\t_, _ = v.pool.store.TakeAuthorization(ctx, begun.State)\n"},
	}},
	{"state stored after the request", "C4", []edit{
		{"authorize.go", "\tif err := t.pool.begin(ctx, t.ref, t.bound, a, w.id); err != nil {\n\t\treturn nil, nil, t.leave(ctx, end, errNotBegun, err)\n\t}\n", ""},
		{"authorize.go", "\tt.pool.fetched(t.ref.Realm, sent, err)\n", "\tt.pool.fetched(t.ref.Realm, sent, err)\n\t_ = t.pool.begin(ctx, t.ref, t.bound, a, w.id)\n"},
	}},
	{"exchange without a claim", "I2", []edit{{"exchange.go", "v, began, err := t.claimForCode(ctx, w)", "v, began, err := verdict{parent: t.stored.Lineage, source: fromCode}, time.Now(), error(nil)"}}},
	{"code sent again", "C1", []edit{{"call.go", "\t\treturn t.bound.Exchange(ctx, t.client, w.code.Authorization, w.code.code, req)\n", `
		res, err := t.bound.Exchange(ctx, t.client, w.code.Authorization, w.code.code, req)
		if err != nil {
			res, err = t.bound.Exchange(ctx, t.client, w.code.Authorization, w.code.code, req)
		}
		return res, err
`}}},
	{"claim not kept for the callback", "C3", []edit{{"authorize.go", "a.Deadline = s.Now.Add(callbackWait)", "_ = a.Deadline"}}},
	{"claim given back before the callback", "C3", []edit{{"authorize.go", "a.Deadline = s.Now.Add(callbackWait)", "a.ID = tokenstore.CallID{}"}}},
	{"code of another secret", "C2", []edit{{"exchange.go", "begun.Fingerprint != t.bound.Fingerprint()", "false"}}},
	{"callback to any realm", "C2", []edit{{"callback.go", "if realmID != begun.Ref.Realm {", "if false {"}}},
	{"kept beside a new consent", "C5", []edit{{"settle.go", "\t\ts.Claim.Candidates = nil\n", ""}}},
	{"consent set aside", "C9", []edit{{"settle.go", " && !e.code.byPerson() {\n\t\te.late", " {\n\t\te.late"}}},
	{"told before it is saved", "C9", []edit{{"callback.go", "\t_, _, err = t.exchange(ctx, begun, cb)\n", "\tgo func() { _, _, _ = t.exchange(context.WithoutCancel(ctx), begun, cb) }()\n"}}},
	{"trouble kept after a consent", "I7 I10 C9", []edit{{"feed.go", "\t} else {\n\t\te.pardon()\n\t}\n", "\t}\n"}}},
}
