#!/usr/bin/env escript
%%! +S 1:1 +P 2000000 +sbwt none -kernel logger_level none
%% The measures of the kernel and supervision suites on Erlang/OTP: one line of JSON on stdout.
%% Usage: escript otp.escript SCENARIO N
-mode(compile).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, start_worker/2, start_dynamic/1,
         start_level/3]).

main([Scenario, Count]) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    run(list_to_atom(Scenario), list_to_integer(Count)).

now_ns() -> erlang:monotonic_time(nanosecond).

answer(Items, Wall, Samples) ->
    io:format("{\"items\": ~p, \"wall\": ~p, \"samples\": [~s]}~n",
              [Items, Wall / 1.0e9, lists:join(",", [integer_to_list(S) || S <- Samples])]).

repeat(0, _) -> ok;
repeat(N, F) -> F(), repeat(N - 1, F).

%% -- messages -----------------------------------------------------------------------------------

run(tell, N) ->
    {ok, Pid} = gen_server:start_link(?MODULE, {echo, self()}, []),
    T = now_ns(),
    repeat(N, fun() -> gen_server:cast(Pid, ping) end),
    ping = gen_server:call(Pid, ping, infinity),
    answer(N, now_ns() - T, []);
run(ask, N) ->
    {ok, Pid} = gen_server:start_link(?MODULE, {echo, self()}, []),
    repeat(1000, fun() -> gen_server:call(Pid, ping) end),
    T = now_ns(),
    repeat(N, fun() -> gen_server:call(Pid, ping) end),
    Wall = now_ns() - T,
    Samples = [begin B = now_ns(), gen_server:call(Pid, ping), now_ns() - B end
               || _ <- lists:seq(1, N div 2)],
    answer(N, Wall, Samples);
run(ring, N) ->
    Self = self(),
    First = spawn_link(fun() -> receive {next, P} -> ring(P, Self) end end),
    Last = lists:foldl(fun(_, P) -> spawn_link(fun() -> ring(P, Self) end) end,
                       First, lists:seq(1, 99)),
    First ! {next, Last},
    T = now_ns(),
    First ! {hop, N},
    receive done -> ok end,
    answer(N, now_ns() - T, []);
run(ping_pong, N) ->
    Self = self(),
    Pong = spawn_link(fun() -> pong() end),
    T = now_ns(),
    spawn_link(fun() -> ping(Pong, N, Self) end),
    receive done -> ok end,
    answer(N, now_ns() - T, []);
run(create, N) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {dynamic, 10}),
    T = now_ns(),
    repeat(N, fun() -> {ok, _} = supervisor:start_child(Sup, [self()]) end),
    answer(N, now_ns() - T, []);
run(idle, N) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {dynamic, 10}),
    Before = erlang:memory(processes),
    repeat(N, fun() -> {ok, _} = supervisor:start_child(Sup, [self()]) end),
    io:format("{\"items\": ~p, \"wall\": 0.0, \"rss\": ~p, \"samples\": []}~n",
              [N, erlang:memory(processes) - Before]);
run(stop, N) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {dynamic, 10}),
    repeat(N, fun() -> {ok, _} = supervisor:start_child(Sup, [self()]) end),
    T = now_ns(),
    exit(Sup, shutdown),
    receive {'EXIT', Sup, _} -> ok end,
    answer(N, now_ns() - T, []);

%% -- supervision --------------------------------------------------------------------------------

%% From the message that makes a child crash to its replacement having run init.
run(crash, N) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {fixed, one_for_one, 1, self()}),
    receive {up, First} -> ok end,
    {_, Samples} = lists:foldl(
        fun(_, {Pid, Acc}) ->
            T = now_ns(),
            Pid ! crash,
            receive {up, New} -> {New, [now_ns() - T | Acc]} end
        end, {First, []}, lists:seq(1, N)),
    true = is_process_alive(Sup),
    answer(N, lists:sum(Samples), Samples);
run(storm, N) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {dynamic, 10 * N}),
    Self = self(),
    Pids = [begin {ok, P} = supervisor:start_child(Sup, [Self]), receive {up, P} -> P end end
            || _ <- lists:seq(1, N)],
    T = now_ns(),
    [exit(P, kill) || P <- Pids],
    repeat(N, fun() -> receive {up, _} -> ok end end),
    answer(N, now_ns() - T, []);
run(group, N) ->
    {ok, _} = supervisor:start_link(?MODULE, {fixed, one_for_all, 10, self()}),
    First = [receive {up, P} -> P end || _ <- lists:seq(1, 10)],
    {_, Samples} = lists:foldl(
        fun(_, {Pids, Acc}) ->
            T = now_ns(),
            hd(Pids) ! crash,
            New = [receive {up, P} -> P end || _ <- lists:seq(1, 10)],
            {New, [now_ns() - T | Acc]}
        end, {First, []}, lists:seq(1, N)),
    answer(N, lists:sum(Samples), Samples);
%% Five supervisors, each the only child of the one above, that allow no restart; the top allows
%% any number. A crash at the bottom goes up through all of them and the whole line starts again.
run(escalation, N) ->
    {ok, _} = supervisor:start_link(?MODULE, {level, 5, self()}),
    First = receive {up, F} -> F end,
    {_, Samples} = lists:foldl(
        fun(_, {Pid, Acc}) ->
            T = now_ns(),
            Pid ! crash,
            receive {up, New} -> {New, [now_ns() - T | Acc]} end
        end, {First, []}, lists:seq(1, N)),
    answer(N, lists:sum(Samples), Samples).

%% -- actors -------------------------------------------------------------------------------------

ring(Next, Owner) ->
    receive
        {hop, 0} -> Owner ! done;
        {hop, N} -> Next ! {hop, N - 1}, ring(Next, Owner)
    end.

pong() -> receive {ping, From} -> From ! pong, pong() end.

ping(_, 0, Owner) -> Owner ! done;
ping(Pong, N, Owner) -> Pong ! {ping, self()}, receive pong -> ping(Pong, N - 1, Owner) end.

start_worker(Owner, _) -> gen_server:start_link(?MODULE, {echo, Owner}, []).
start_dynamic(Owner) -> gen_server:start_link(?MODULE, {echo, Owner}, []).
start_level(Level, Owner, _) -> supervisor:start_link(?MODULE, {level, Level, Owner}).

init({echo, Owner}) -> Owner ! {up, self()}, {ok, Owner};
init({dynamic, Intensity}) ->
    {ok, {#{strategy => simple_one_for_one, intensity => Intensity, period => 5},
          [#{id => w, start => {?MODULE, start_dynamic, []}, restart => permanent}]}};
init({fixed, Strategy, Count, Owner}) ->
    {ok, {#{strategy => Strategy, intensity => 1000000, period => 1},
          [#{id => I, start => {?MODULE, start_worker, [Owner, I]}} || I <- lists:seq(1, Count)]}};
init({level, 0, Owner}) ->
    {ok, {#{strategy => one_for_one, intensity => 0, period => 1},
          [#{id => w, start => {?MODULE, start_worker, [Owner, 0]}}]}};
init({level, Level, Owner}) ->
    Intensity = case Level of 5 -> 1000000; _ -> 0 end,
    {ok, {#{strategy => one_for_one, intensity => Intensity, period => 1},
          [#{id => s, start => {?MODULE, start_level, [Level - 1, Owner, s]}, type => supervisor}]}}.

handle_call(Message, _From, State) -> {reply, Message, State}.
handle_cast(_, State) -> {noreply, State}.
handle_info(crash, _State) -> exit(crash);
handle_info(_, State) -> {noreply, State}.
