use foretell_training::ModelCatalog;

/// Parameters as published, in 10^9, and of which a token meets so many.
#[test]
fn sizes_are_those_that_are_published() {
    for (name, parameters, active) in [
        ("gpt-2-1.5b", 1.557, 1.557),
        ("gpt-3-175b", 174.6, 174.6),
        ("megatron-gpt-22b", 22.0, 22.0),
        ("megatron-gpt-529.6b", 529.6, 529.6),
        ("megatron-gpt-1008b", 1008.0, 1008.0),
        ("mpt-7b", 6.649, 6.649),
        ("llama-2-7b", 6.738, 6.738),
        ("llama-2-70b", 68.98, 68.98),
        ("llama-3-8b", 8.03, 8.03),
        ("llama-3-70b", 70.55, 70.55),
        ("llama-3-405b", 405.85, 405.85),
        ("mixtral-8x7b", 46.7, 12.88),
        ("mixtral-8x22b", 140.6, 39.1),
        // Without the module that predicts a second token.
        ("deepseek-v3", 671.0, 37.5),
        ("qwen3-30b-a3b", 30.5, 3.35),
        ("bert-large", 0.335, 0.335),
        ("resnet-50", 0.02556, 0.02556),
        ("resnet-101", 0.04455, 0.04455),
        ("vgg-16", 0.13836, 0.13836),
        // Tables of 26.1.
        ("dlrm-dcnv2", 26.15, 26.15),
    ] {
        let model = ModelCatalog::builtin().get(name).unwrap();
        let ours = (model.parameters() / 1e9, model.active_parameters() / 1e9);
        assert!((ours.0 / parameters - 1.0).abs() < 0.012, "{name}: {} for {parameters}", ours.0);
        assert!((ours.1 / active - 1.0).abs() < 0.012, "{name}: active {} for {active}", ours.1);
    }
}

/// Multiplications and additions of convolutional networks: 2 x 4.09, 7.80 and 15.47 10^9 (their papers and torchvision).
#[test]
fn operations_of_convolutional_networks_are_those_that_are_published() {
    for (name, expected) in [("resnet-50", 8.18e9), ("resnet-101", 15.6e9), ("vgg-16", 30.94e9)] {
        let flops = ModelCatalog::builtin().get(name).unwrap().flops_per_sample(1) / 3.0;
        assert!((flops / expected - 1.0).abs() < 0.01, "{name}: {flops}");
    }
}

#[test]
fn every_model_names_its_source() {
    let models: Vec<_> = ModelCatalog::builtin().models().collect();
    assert!(models.len() > 35);
    for model in models {
        assert!(model.source.contains("20"), "{}: {}", model.name, model.source);
    }
}

#[test]
fn what_is_wrong_with_a_catalogue_is_said() {
    let text = |width, heads, more| {
        format!(
            "[[transformers]]\nname = \"x\"\nlayers = 2\nwidth = {width}\nheads = {heads}\nvocabulary = 10\n\
             sequence_length = 8\nsource = \"none\"\n{more}"
        )
    };
    for (text, expected) in [
        (text(8, 0, ""), "a size is 0"),
        (text(8, 3, ""), "`heads` does not divide `width`"),
        (text(8, 4, "kv_heads = 3"), "`kv_heads` does not divide `heads`"),
        (text(8, 4, "experts = { count = 2, active = 3, width = 8 }"), "`experts.active` must be from 1"),
        (text(8, 4, "depth = 3"), "unknown field `depth`"),
        ("[[layered]]\nname = \"x\"\nblocks = []\nsource = \"none\"".to_owned(), "it has no blocks"),
    ] {
        let error = ModelCatalog::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
