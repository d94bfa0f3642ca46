package expr

import (
	"encoding/json"
	"regexp"

	"chaos/lang/value"
)

// addEngineHelpers adds what lowering calls besides operators and the language's functions.
func addEngineHelpers(add func(name string, f func(args []any) (any, error))) {
	add("get", func(args []any) (any, error) { return get(args[0], args[1]) })
	add("cut", func(args []any) (any, error) { return cut(args[0], args[1], args[2]) })
	add("truth", func(args []any) (any, error) { return truth(args[0]) })
	add("items", func(args []any) (any, error) { return items(args[0]) })
	add("some", func(args []any) (any, error) {
		if args[0] == nil {
			return nil, noData("an element has no value")
		}
		return args[0], nil
	})
	add("found", func(args []any) (any, error) {
		if args[0] == nil {
			return nil, noData("no element was found")
		}
		return args[0], nil
	})
	add("maybeFloat", func(args []any) (any, error) {
		if args[0] == nil {
			return nil, nil
		}
		return num(args[0])
	})
	add("coalesce", func(args []any) (any, error) {
		for _, a := range args {
			if a != nil {
				return a, nil
			}
		}
		return nil, noData("neither side of `??` has a value")
	})
	add("matches", func(args []any) (any, error) {
		s, err := str(args[0])
		if err != nil {
			return nil, err
		}
		return args[1].(*regexp.Regexp).MatchString(s), nil
	})
	add("text", func(args []any) (any, error) {
		types := *args[0].(*[]*value.Type)
		parts := make([]value.Value, len(types))
		for i, t := range types {
			parts[i] = result(args[i+1], t)
		}
		v := printed(parts)
		if v.IsMissing() {
			return nil, noData(v.Why())
		}
		return v.V, nil
	})
	add("toJSON", func(args []any) (any, error) {
		types := *args[0].(*[]*value.Type)
		data, err := json.Marshal(result(args[1], types[0]))
		if err != nil || len(data) > maxText {
			return nil, noData("the value cannot be written as JSON")
		}
		return string(data), nil
	})
	add("visit", func(args []any) (any, error) { return args[1], ticked(args[0]) })
	add("judge", func(args []any) (any, error) {
		if err := ticked(args[0]); err != nil {
			return nil, err
		}
		return truth(args[1])
	})
	add("weigh", func(args []any) (any, error) {
		if err := ticked(args[0]); err != nil {
			return nil, err
		}
		return num(args[1])
	})
}

// ticked counts one look at an element.
func ticked(counter any) error {
	n := counter.(*int)
	if *n++; *n > maxTicks {
		return errTicks
	}
	return nil
}
