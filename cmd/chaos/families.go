package main

import (
	"chaos/actions/ask"
	"chaos/cmd/families"
	"chaos/runtime"
)

// moreFamilies lets the test binary add families of its own.
var moreFamilies func(runtime.Registries)

// registries holds every family. Questions of a script go to the terminal, where there is one.
func registries() runtime.Registries { return registriesAsking(newAsker(false)) }

// registriesAsking is registries with somebody to answer questions, nil for nobody.
func registriesAsking(asker ask.Asker) runtime.Registries {
	reg := families.All(asker)
	if moreFamilies != nil {
		moreFamilies(reg)
	}
	return reg
}
