//! The code of `--device cuda` on the processor: whole models against the reference and against our own executor, and the kernels for
//! cards, emulated, against their twins.
#![cfg(feature = "candle")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Golden, GoldenModel, GoldenRequest, files, golden};
use edge_reranker::{
    ErrorKind,
    backend::{
        Backend, Cancel, Cpu, Free, KeptPrefix, Pace,
        candle::{Candle, Compute, Place, Replicas},
        simd::Isa,
    },
    plan::{Batch, Before, Prefix, pack},
    weights::{Loading, MemorySource, ModelFile, SourceFile},
};
use futures::executor::block_on;
use safetensors::{SafeTensors, tensor::TensorView};

/// The bound on the logits of exact files in f32.
const BOUND: f32 = 1e-3;
/// On the same computed in 16 bits: seeded models amplify rounding. The largest, and a model's mean.
const SIXTEEN_BITS: [f32; 2] = [0.3, 0.06];
/// On those of quantised files, whose products take inputs of 8 bits.
const QUANTISED: [f32; 2] = [0.3, 0.05];
/// Between two ways of packing the same sequences: products of other shapes add up in another order.
const PACKING: f32 = 2e-4;

fn open(name: &str) -> (ModelFile, (u32, u32)) {
    let file = block_on(ModelFile::open(files(name))).unwrap();
    let answers = file.tokenizer().unwrap().answers();
    (file, answers)
}

fn load_on(name: &str, places: &[Place], compute: Option<Compute>) -> Candle {
    let (file, answers) = open(name);
    block_on(Candle::load(Loading::new(&file, answers, |_, _| Ok(())), places, compute)).unwrap()
}

fn load(name: &str, compute: Option<Compute>) -> Candle {
    load_on(name, &[Place::Host], compute)
}

fn requests(golden: &Golden) -> impl Iterator<Item = (usize, &GoldenRequest)> {
    golden.requests.iter().enumerate().filter(|(_, r)| r.error.is_none())
}

fn ids(request: &GoldenRequest) -> Vec<&[u32]> {
    request.expected.iter().map(|p| &p.ids[..]).collect()
}

/// The logits of all `own`, each after `shared`, in batches of `budget` rows.
fn run(backend: &dyn Backend, shared: &[u32], own: &[&[u32]], budget: usize, keep: usize) -> Vec<f32> {
    let mut kept = KeptPrefix::default();
    let batches = pack(shared, own, budget, keep, Before::Nothing);
    let logits = batches.iter().flat_map(|b| block_on(backend.logits(b, &mut kept, &Free)).unwrap());
    logits.map(|l| l.difference).collect()
}

fn near(what: &str, got: &[f32], want: &[f32], bound: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= bound, "{what}, sequence {i}: {got}, want {want}");
    }
}

#[test]
fn heads_that_the_kernels_cannot_take_are_refused_before_anything_is_loaded() {
    const LARGE: usize = 258;
    let read = |name: &str| std::fs::read(common::golden_path(&format!("tiny-f32/{name}"))).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&read("config.json")).unwrap();
    let head_dim = config["head_dim"].as_u64().unwrap() as usize;
    config["head_dim"] = LARGE.into();
    let weights = read("model.safetensors");
    let enlarged = SafeTensors::deserialize(&weights).unwrap().tensors().into_iter().map(|(name, tensor)| {
        let mut shape = tensor.shape().to_vec();
        if name.contains("self_attn") {
            let of_heads = usize::from(name.contains("o_proj"));
            shape[of_heads] = shape[of_heads] / head_dim * LARGE;
        }
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        (name, shape, bytes)
    });
    let enlarged: Vec<_> = enlarged.collect();
    let views = enlarged
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap()));
    let weights = safetensors::serialize(views, None).unwrap();
    let mut files = files("tiny-f32");
    for (name, bytes) in [("config.json", config.to_string().into_bytes()), ("model.safetensors", weights)] {
        let at = files.iter().position(|file| file.name == name).unwrap();
        files[at] = SourceFile::new(name, MemorySource(bytes.into()));
    }
    let file = block_on(ModelFile::open(files)).unwrap();
    let none = |_, _| -> edge_reranker::Result<()> { panic!("something was loaded") };
    let Err(e) = block_on(Candle::load(Loading::new(&file, (0, 1), none), &[Place::Host], None)) else {
        panic!("loaded")
    };
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("258"), "{e}");
}

/// The largest and the mean difference of a model's logits from the reference.
fn errors(model: &GoldenModel, place: Place, compute: Option<Compute>) -> [f32; 2] {
    let (golden, candle) = (golden(), load_on(&model.path, &[place], compute));
    let mut errors = Vec::new();
    for (i, request) in requests(&golden) {
        let got = run(&candle, &[], &ids(request), usize::MAX, 0);
        errors.extend(got.iter().zip(&model.scores[i]).map(|(got, want)| (got - want.logit).abs()));
    }
    assert!(errors.iter().all(|e| e.is_finite()), "{}", model.path);
    let [most, mean] = [errors.iter().copied().fold(0.0, f32::max), errors.iter().sum::<f32>() / errors.len() as f32];
    eprintln!("{} {place:?} {compute:?}: off by {most} at most, {mean} on average", model.path);
    [most, mean]
}

#[test]
fn exact_models_agree_with_the_reference_in_f32() {
    let golden = golden();
    let exact: Vec<_> = golden.models.iter().filter(|m| m.class == "exact").collect();
    assert!(exact.len() >= 5, "the golden models are there");
    for model in exact {
        let [most, _] = errors(model, Place::Host, Some(Compute::F32));
        assert!(most < BOUND, "{}: off by {most}", model.path);
    }
}

#[test]
fn sixteen_bits_stay_close_to_the_reference() {
    for model in golden().models.iter().filter(|m| ["odd-bf16", "tall-f16"].contains(&&*m.path)) {
        for compute in [None, Some(Compute::BF16), Some(Compute::F16)] {
            let [most, mean] = errors(model, Place::Host, compute);
            assert!(
                most < SIXTEEN_BITS[0] && mean < SIXTEEN_BITS[1],
                "{} {compute:?}: off by {most}, {mean}",
                model.path
            );
            // A result as exact as f32's would mean that nothing was rounded.
            assert!(most > BOUND / 10.0, "{} {compute:?}: off by {most} only", model.path);
        }
    }
}

#[test]
fn quantised_models_agree_with_the_reference() {
    let golden = golden();
    let quantised: Vec<_> = golden.models.iter().filter(|m| m.class != "exact").collect();
    assert!(!quantised.is_empty());
    for model in quantised {
        let [most, mean] = errors(model, Place::Host, None);
        assert!(most < QUANTISED[0] && mean < QUANTISED[1], "{}: off by {most}, {mean}", model.path);
    }
}

#[test]
fn a_card_agrees_with_the_reference() {
    /// What a GPU may be off in f32.
    const CARD: f32 = 5e-3;
    if edge_reranker::backend::candle::cards() == 0 {
        eprintln!("skipped: no NVIDIA card, or a build without the feature cuda");
        return;
    }
    for model in golden().models {
        let exact = model.class == "exact";
        let [most, mean] = errors(&model, Place::Card(0), exact.then_some(Compute::F32));
        let bounds = if exact { [CARD, CARD] } else { SIXTEEN_BITS };
        assert!(most < bounds[0] && mean < bounds[1], "{}: off by {most}, {mean}", model.path);
    }
}

#[test]
fn a_batch_equals_its_singles() {
    for (name, compute) in [("tiny-f32", None), ("odd-bf16", Some(Compute::F32)), ("every-type.gguf", None)] {
        let candle = load(name, compute);
        for (_, request) in requests(&golden()) {
            let own = ids(request);
            let together = run(&candle, &[], &own, usize::MAX, 0);
            let alone: Vec<f32> = own.iter().flat_map(|ids| run(&candle, &[], &[ids], usize::MAX, 0)).collect();
            near(&format!("{name} {}", request.name), &together, &alone, PACKING);
        }
    }
}

/// candle-transformers' Qwen3 on a batch of prompts, padded before or behind to one length: the logits at each prompt's last token.
fn padded(name: &str, answers: (u32, u32), prompts: &[&[u32]], padding_first: bool) -> Vec<f32> {
    use candle_core::{DType, Device, Tensor};
    use candle_transformers::models::qwen3::{Config, Model};

    const PADDING: u32 = 7;
    let folder = common::golden_path(name);
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&read("config.json")).unwrap();
    // candle's rotary table has this many positions.
    config["max_position_embeddings"] = 4096.into();
    let config: Config = serde_json::from_value(config).unwrap();
    let vb = candle_nn::VarBuilder::from_buffered_safetensors(read("model.safetensors"), DType::F32, &Device::Cpu);
    let vb = vb.unwrap();
    let mut model = Model::new(&config, vb.clone()).unwrap();
    let longest = prompts.iter().map(|p| p.len()).max().unwrap();
    let row = |ids: &&[u32]| {
        let padding = vec![PADDING; longest - ids.len()];
        if padding_first { [&padding, *ids].concat() } else { [*ids, &padding].concat() }
    };
    let ids = Tensor::from_vec(prompts.iter().flat_map(row).collect(), (prompts.len(), longest), &Device::Cpu).unwrap();
    let hidden = model.forward(&ids, 0).unwrap();
    let head = vb.get((config.vocab_size, config.hidden_size), "model.embed_tokens.weight").unwrap();
    let [no, yes] = [answers.0, answers.1].map(|id| head.get(id as usize).unwrap());
    let direction = (yes - no).unwrap();
    let last = |(i, ids): (usize, &&[u32])| {
        let at = if padding_first { longest } else { ids.len() } - 1;
        let row = hidden.get(i).unwrap().get(at).unwrap();
        (row * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()
    };
    prompts.iter().enumerate().map(last).collect()
}

/// What docs/cuda.md says of candle-transformers: its mask is causal and knows no padding.
#[test]
fn candle_s_own_model_takes_padding_behind_a_prompt_only() {
    let name = "tiny-f32";
    let answers = open(name).1;
    let candle = load(name, None);
    let golden = golden();
    let request = requests(&golden).map(|(_, r)| r).max_by_key(|r| r.documents.len()).unwrap();
    let own = ids(request);
    assert!(own.iter().any(|ids| ids.len() != own[0].len()), "prompts of several lengths");
    let want = run(&candle, &[], &own, usize::MAX, 0);
    for (ids, want) in own.iter().zip(&want) {
        near("alone", &padded(name, answers, &[ids], false), &[*want], BOUND);
    }
    near("padding behind", &padded(name, answers, &own, false), &want, BOUND);
    let before = padded(name, answers, &own, true);
    let off = before.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
    assert!(off > 100.0 * BOUND, "padding before is attended to, yet the logits are off by {off} only");
}

#[test]
fn sharing_the_prefix_changes_nothing() {
    let candle = load("odd-bf16", Some(Compute::F32));
    for (_, request) in requests(&golden()) {
        let whole = ids(request);
        let shared = request.shared_prefix.unwrap();
        let own: Vec<&[u32]> = whole.iter().map(|ids| &ids[shared..]).collect();
        let off = run(&candle, &[], &whole, usize::MAX, 0);
        for (what, budget, keep) in [("in one batch", usize::MAX, 0), ("kept", 1, usize::MAX), ("computed again", 1, 0)]
        {
            let on = run(&candle, &whole[0][..shared], &own, budget, keep);
            near(&format!("{} {what}", request.name), &on, &off, PACKING);
        }
    }
}

/// Sequences of `lengths` ids that differ, after a prefix of `shared` ids.
fn sequences(shared: usize, lengths: &[usize]) -> (Vec<u32>, Vec<Vec<u32>>) {
    let id = |i: usize| (i * 7919 % 256) as u32;
    let own = lengths.iter().enumerate().map(|(n, &len)| (0..len).map(|i| id(i + 31 * n + 5)).collect());
    ((0..shared).map(id).collect(), own.collect())
}

#[test]
fn more_rows_than_a_chunk_agree_with_our_own_executor() {
    let (file, answers) = open("tiny-f32");
    let cpu = block_on(Cpu::load(Loading::new(&file, answers, |_, _| Ok(())), 0, Isa::best())).unwrap();
    let candle = load("tiny-f32", None);
    // Over 4,096 rows, whose chunks end within a sequence; one of one id, one longer than the others.
    let lengths: Vec<usize> = (0..60).map(|i| 40 + 13 * (i % 9)).chain([1, 700]).collect();
    let (shared, own) = sequences(33, &lengths);
    let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
    assert!(lengths.iter().sum::<usize>() > 4096 + 700);
    let want = run(&cpu, &shared, &own, usize::MAX, usize::MAX);
    near("one batch", &run(&candle, &shared, &own, usize::MAX, usize::MAX), &want, BOUND);
    near("several", &run(&candle, &shared, &own, 2500, usize::MAX), &want, BOUND);
}

#[test]
fn layers_on_several_devices_equal_one() {
    let (shared, own) = sequences(20, &[5, 30, 1, 64]);
    let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
    let want = run(&load("odd-bf16", None), &shared, &own, usize::MAX, 0);
    for count in [2, 3, 9] {
        let split = load_on("odd-bf16", &vec![Place::Host; count], None);
        // The kept prefix of a layer lies on the layer's device.
        near("split", &run(&split, &shared, &own, 40, usize::MAX), &want, PACKING.max(SIXTEEN_BITS[1]));
        assert_eq!(run(&split, &shared, &own, usize::MAX, 0), want, "{count} devices");
    }
}

fn replicas(count: usize) -> Replicas {
    Replicas::new((0..count).map(|_| load("tiny-f32", None)).collect()).unwrap()
}

#[test]
fn replicas_equal_one() {
    let (shared, own) = sequences(20, &[5, 30, 1, 64, 7, 7, 90]);
    let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
    let want = run(&load("tiny-f32", None), &shared, &own, usize::MAX, 0);
    for count in [1, 2, 3, 8] {
        let replicas = replicas(count);
        // A first batch of one sequence must leave its prefix with every replica.
        for budget in [21, 70, usize::MAX] {
            let what = format!("{count} replicas, {budget} rows");
            near(&what, &run(&replicas, &shared, &own, budget, usize::MAX), &want, PACKING);
        }
    }
    assert_eq!(Replicas::new(Vec::new()).err().unwrap().code(), "bad-input");
}

#[test]
fn a_failure_of_one_replica_is_the_batch_s() {
    /// Panics in whichever replica asks first.
    struct Panics(AtomicUsize);
    impl Pace for Panics {
        fn cancelled(&self) -> bool {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "a bug");
            false
        }
    }
    let replicas = replicas(2);
    let batches = pack(&[1, 2], &[&[3], &[4]], 100, 100, Before::Nothing);
    let panics = Panics(AtomicUsize::new(0));
    let error = block_on(replicas.logits(&batches[0], &mut KeptPrefix::default(), &panics)).unwrap_err();
    assert_eq!(error.code(), "device-lost");
    let batches = pack(&[1, 2], &[&[3], &[9_999_999]], 100, 100, Before::Nothing);
    let error = block_on(replicas.logits(&batches[0], &mut KeptPrefix::default(), &Free)).unwrap_err();
    assert_eq!(error.code(), "bad-input");
}

/// What several clients ask: the ids of each prefix, and the sequences behind it.
struct Clients(Vec<(Vec<u32>, Vec<Vec<u32>>)>);

impl Clients {
    fn new() -> Self {
        let lengths: [(usize, &[usize]); 5] =
            [(33, &[40, 7, 1]), (0, &[25, 60]), (12, &[1]), (64, &[5, 90, 30, 2]), (20, &[64, 64])];
        let client = |(n, &(shared, lengths)): (usize, &(usize, &[usize]))| {
            let (mut shared, own) = sequences(shared, lengths);
            // No two prefixes are alike, so that taking another one's shows.
            shared.iter_mut().for_each(|id| *id = (*id + 83 * n as u32) % 256);
            (shared, own)
        };
        Self(lengths.iter().enumerate().map(client).collect())
    }

    /// The batch of each, `keep` rows of a prefix at most are kept.
    fn batches(&self, keep: usize, before: impl Fn(usize) -> Before) -> Vec<Batch> {
        let batch = |(n, (shared, own)): (usize, &(Vec<u32>, Vec<Vec<u32>>))| {
            let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
            pack(shared, &own, usize::MAX, keep, before(n))
        };
        self.0.iter().enumerate().flat_map(batch).collect()
    }

    /// What each is given alone.
    fn alone(&self, backend: &dyn Backend) -> Vec<Vec<f32>> {
        let one = |(shared, own): &(Vec<u32>, Vec<Vec<u32>>)| {
            let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
            run(backend, shared, &own, usize::MAX, 0)
        };
        self.0.iter().map(one).collect()
    }

    /// Asks for all of them together, three times: their prefixes are to be kept, then some are known, then they are too long to be kept.
    fn together(&self, backend: &dyn Backend, what: &str, bound: f32) {
        let want = self.alone(backend);
        let mut kept: Vec<KeptPrefix> = self.0.iter().map(|_| KeptPrefix::default()).collect();
        let rounds = [
            ("to be kept", self.batches(99, |_| Before::Wanted)),
            ("some known", self.batches(99, |n| if n % 2 == 0 { Before::Known } else { Before::Nothing })),
            ("all known", self.batches(99, |_| Before::Known)),
            ("too long", self.batches(20, |_| Before::Known)),
        ];
        for (round, batches) in rounds {
            let logits = block_on(backend.logits_together(&batches, &mut kept, &Free)).unwrap();
            for (n, (got, want)) in logits.iter().zip(&want).enumerate() {
                let got: Vec<f32> = got.iter().map(|l| l.difference).collect();
                near(&format!("{what}, {round}, client {n}"), &got, want, bound);
            }
        }
    }
}

/// Counts how often it is asked: once a layer and pass.
struct Counts(AtomicUsize);

impl Pace for Counts {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }
}

fn layers_passed(backend: &dyn Backend, batches: &[Batch]) -> usize {
    let counts = Counts(AtomicUsize::new(0));
    let mut kept: Vec<KeptPrefix> = batches.iter().map(|_| KeptPrefix::default()).collect();
    block_on(backend.logits_together(batches, &mut kept, &counts)).unwrap();
    counts.0.into_inner()
}

#[test]
fn several_clients_go_through_the_layers_in_one_pass() {
    let clients = Clients::new();
    for (name, compute, bound) in
        [("tiny-f32", None, PACKING), ("odd-bf16", None, SIXTEEN_BITS[1]), ("every-type.gguf", None, PACKING)]
    {
        clients.together(&load(name, compute), name, bound);
    }
    clients.together(&load_on("tiny-f32", &[Place::Host; 2], None), "layers on two devices", PACKING);
    let candle = load("tiny-f32", None);
    let batches = clients.batches(99, |_| Before::Wanted);
    let once = layers_passed(&candle, &batches[..1]);
    assert!(once > 0);
    assert_eq!(layers_passed(&candle, &batches), once);
}

#[test]
fn what_the_memory_does_not_hold_goes_in_several_passes() {
    let clients = Clients::new();
    let whole = load("tiny-f32", None);
    for rows in [154, 200, 400] {
        clients.together(&load("tiny-f32", None).within(rows), &format!("{rows} rows"), PACKING);
    }
    let batches = clients.batches(99, |_| Before::Wanted);
    let once = layers_passed(&whole, &batches[..1]);
    assert_eq!(layers_passed(&load("tiny-f32", None).within(400), &batches), 2 * once);
    // One of its sequences has 90 rows of its own.
    let small = load("tiny-f32", None).within(89);
    let error = block_on(small.logits(&batches[3], &mut KeptPrefix::default(), &Free)).unwrap_err();
    assert_eq!(error.code(), "oom");
}

#[test]
fn replicas_share_out_what_several_clients_ask() {
    let clients = Clients::new();
    for count in [1, 2, 3, 8] {
        clients.together(&replicas(count), &format!("{count} replicas"), PACKING);
    }
    // Each replica takes one pass, however many clients there are, and the batch that is asked for counts them all.
    let batches = clients.batches(99, |_| Before::Wanted);
    let once = layers_passed(&replicas(1), &batches[..1]);
    assert_eq!(layers_passed(&replicas(3), &batches), 3 * once);
    assert_eq!(replicas(3).batch_rows(100), 3 * replicas(1).batch_rows(100));
}

#[test]
fn a_prefix_that_one_replica_kept_serves_all() {
    let replicas = replicas(3);
    let (shared, own) = sequences(30, &[20; 6]);
    let own: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
    let want = run(&replicas, &shared, &own, usize::MAX, 0);
    let mut kept = KeptPrefix::default();
    let mut ask = |own: &[&[u32]], before| {
        let batches = pack(&shared, own, usize::MAX, 99, before);
        let logits = block_on(replicas.logits(&batches[0], &mut kept, &Free)).unwrap();
        logits.iter().map(|l| l.difference).collect::<Vec<_>>()
    };
    // One sequence goes to one replica; the others then need its prefix.
    near("first", &ask(&own[..1], Before::Wanted), &want[..1], PACKING);
    near("all", &ask(&own, Before::Known), &want, PACKING);
}

#[test]
fn a_cancelled_batch_stops() {
    let cancel = Cancel::default();
    cancel.cancel();
    let batches = pack(&[1, 2], &[&[3]], 100, 100, Before::Nothing);
    for backend in [Box::new(load("tiny-f32", None)) as Box<dyn Backend>, Box::new(replicas(2))] {
        let error = block_on(backend.logits(&batches[0], &mut KeptPrefix::default(), &cancel)).unwrap_err();
        assert_eq!(error.code(), "aborted");
    }
}

#[test]
fn a_kept_prefix_serves_a_later_request() {
    let candle = load("odd-bf16", None);
    let (shared, own) = sequences(25, &[12]);
    let mut kept = KeptPrefix::default();
    let mut ask = |before| {
        let batches = pack(&shared, &[&own[0]], 100, 100, before);
        block_on(candle.logits(&batches[0], &mut kept, &Free)).unwrap()[0].difference
    };
    let first = ask(Before::Wanted);
    assert_eq!(pack(&shared, &[&own[0]], 100, 100, Before::Known)[0].prefix, Prefix::Kept);
    assert!((ask(Before::Known) - first).abs() < SIXTEEN_BITS[1]);
}

#[test]
fn a_token_that_the_model_does_not_have_is_refused() {
    let batches = pack(&[], &[&[1, 9_999_999]], 100, 100, Before::Nothing);
    let error = block_on(load("tiny-f32", None).logits(&batches[0], &mut KeptPrefix::default(), &Free)).unwrap_err();
    assert_eq!(error.code(), "bad-input");
}

#[test]
fn a_card_that_is_not_there_is_said_to_be_missing() {
    let (file, answers) = open("tiny-f32");
    let missing = Place::Card(edge_reranker::backend::candle::cards());
    let load = |places: &[Place]| block_on(Candle::load(Loading::new(&file, answers, |_, _| Ok(())), places, None));
    let error = load(&[Place::Host, missing]).err().unwrap();
    assert_eq!(error.code(), "webgpu-unavailable");
    assert!(error.to_string().contains("cuda:"), "{error}");
    assert_eq!(load(&[]).err().unwrap().code(), "bad-input");
}
