package main

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// api answers GET /api/v1/?n=15 with {"n":15,"answer":"FizzBuzz"}, and GET /healthz with "ok".
func api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/{$}", func(w http.ResponseWriter, r *http.Request) {
		n := 15
		if s := r.URL.Query().Get("n"); s != "" {
			var err error
			if n, err = strconv.Atoi(s); err != nil || n < 1 {
				http.Error(w, "n is a whole number from 1 on", http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(struct {
			N      int    `json:"n"`
			Answer string `json:"answer"`
		}{n, fizzbuzz(n)})
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	return mux
}

func fizzbuzz(n int) string {
	switch {
	case n%15 == 0:
		return "FizzBuzz"
	case n%3 == 0:
		return "Fizz"
	case n%5 == 0:
		return "Buzz"
	}
	return strconv.Itoa(n)
}
