use super::*;

fn ids(text: &str) -> Vec<TokenId> {
    text.bytes().map(|byte| TokenId(byte.into())).collect()
}

/// Adds a text as blocks of four, numbered from `first`.
fn add(tree: &mut PrefixTree, text: &str, first: u32) {
    let mut parent = Key::ROOT;
    for (i, chunk) in ids(text).chunks(4).enumerate() {
        assert!(
            tree.insert(parent, chunk, BlockId(first + i as u32)),
            "{text} {i}"
        );
        parent = parent.then(chunk);
    }
}

fn check(tree: &PrefixTree, text: &str, blocks: &[u32], tail: Option<(u32, usize)>) {
    let found = tree.find(&ids(text));
    let found_blocks: Vec<u32> = found.full.iter().map(|(_, block)| block.0).collect();
    assert_eq!(found_blocks, blocks, "{text}");
    assert_eq!(found.tail.map(|(block, n)| (block.0, n)), tail, "{text}");
}

#[test]
fn the_longest_common_prefix_is_found_to_the_token() {
    let mut tree = PrefixTree::new(4);
    add(&mut tree, "abcdefghij", 0);
    check(&tree, "abcdefghijkl", &[0, 1], Some((2, 2)));
    check(&tree, "abcdefghiX", &[0, 1], Some((2, 1)));
    check(&tree, "abcdefX", &[0], Some((1, 2)));
    check(&tree, "abcd", &[0], None);
    check(&tree, "abX", &[], Some((0, 2)));
    check(&tree, "X", &[], None);
    check(&tree, "", &[], None);
}

#[test]
fn a_prefix_is_held_once() {
    let mut tree = PrefixTree::new(4);
    add(&mut tree, "abcdef", 0);
    let parent = Key::ROOT.then(&ids("abcd"));
    assert!(!tree.insert(Key::ROOT, &ids("abcd"), BlockId(9)));
    assert!(
        !tree.insert(parent, &ids("e"), BlockId(9)),
        "a longer one is there"
    );
    assert!(
        tree.insert(parent, &ids("efg"), BlockId(9)),
        "this one is longer"
    );
    assert!(
        !tree.insert(Key::ROOT.then(&ids("zzzz")), &ids("a"), BlockId(8)),
        "no such parent"
    );
}

#[test]
fn leaves_go_first_and_blocks_in_use_stay() {
    let mut tree = PrefixTree::new(4);
    add(&mut tree, "abcdefgh", 0);
    assert_eq!(
        tree.evict(|block| block.0 == 1),
        None,
        "the only leaf is in use"
    );
    assert_eq!(tree.evict(|_| false), Some(BlockId(1)));
    assert_eq!(tree.evict(|_| false), Some(BlockId(0)));
    assert_eq!(tree.evict(|_| false), None);
    assert_eq!(tree.len(), 0);
}

#[test]
fn short_conversations_give_way_to_long_ones_but_nothing_stays_for_ever() {
    let mut tree = PrefixTree::new(4);
    let long = "abcdefghijklmnop";
    add(&mut tree, long, 0);
    let keys = |text: &str| {
        let mut parent = Key::ROOT;
        ids(text)
            .chunks(4)
            .map(|chunk| {
                parent = parent.then(chunk);
                parent
            })
            .collect::<Vec<_>>()
    };
    tree.touch(keys(long).into_iter(), 100);
    for round in 0..50_u32 {
        let side = format!("{:04}", round);
        tree.insert(Key::ROOT, &ids(&side), BlockId(100 + round));
        tree.touch(keys(&side).into_iter(), 10);
        assert_eq!(
            tree.evict(|_| false),
            Some(BlockId(100 + round)),
            "round {round}"
        );
    }
    check(&tree, long, &[0, 1, 2, 3], None);
    let mut rounds = 0;
    while tree.find(&ids(long)).full.len() == 4 {
        let side = format!("x{:03}", rounds);
        tree.insert(Key::ROOT, &ids(&side), BlockId(500 + rounds));
        tree.touch(keys(&side).into_iter(), 10);
        tree.evict(|_| false);
        rounds += 1;
        assert!(rounds < 900, "the unused conversation never ages");
    }
}
