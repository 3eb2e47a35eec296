// Command puppet is a program that behaves as a test wants it to: it is all
// there is in the image of the tests' containers.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	what := "serve"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	number := func() int {
		n, _ := strconv.Atoi(os.Args[2])
		return n
	}
	switch what {
	case "serve":
		serve()
	case "deaf": // to every polite signal
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Fprintln(os.Stderr, "I do not listen")
		idle()
	case "postgres": // stops at SIGINT alone, as the real one does while it has sessions
		signal.Ignore(syscall.SIGTERM)
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGINT)
		fmt.Println("ready to accept connections")
		<-stop
		fmt.Println("database system is shut down")
	case "exit":
		fmt.Println("the last words on stdout")
		fmt.Fprintln(os.Stderr, "the last words on stderr, password=hunter2")
		os.Exit(number())
	case "probe":
		resp, err := http.Get("http://127.0.0.1:8000/")
		if err != nil || resp.StatusCode != 200 {
			fmt.Println("no answer:", err)
			os.Exit(1)
		}
	case "burn":
		for {
		}
	case "hog":
		held := make([]byte, number()<<20)
		for i := range held {
			held[i] = 1
		}
		fmt.Println("holding", len(held))
		idle()
	case "say": // LINES, then sleep
		for i := range number() {
			fmt.Fprintf(os.Stderr, "request %d failed: could not connect to server postgres://app:hunter2@db:5432/bot\n", i)
			fmt.Printf("request %d served in %d ms\n", i, i)
		}
		idle()
	case "env":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	}
}

// idle waits for ever; an empty select would be taken for a deadlock.
func idle() {
	for {
		time.Sleep(time.Hour)
	}
}

func serve() {
	host, _ := os.Hostname()
	s := &http.Server{Addr: ":8000", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Instance", host)
		if _, err := os.Stat("/ill"); err == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, "here is", host)
	})}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go func() {
		<-stop.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	}()
	fmt.Fprintln(os.Stderr, "listening")
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
