//! The page about single pictures shows what it is given, and asks for nothing.

use image::{Rgb, RgbImage};
use mint_eval::{
    OpenWorld, Outcome, Recalled, ScoreKind, StepSummary, Trace, ViewTrace, Views, probabilities,
};
use mint_report::{ExplainedAnswer, ExplainedMethod, ExplainedPage, ExplainedPicture};

fn names() -> Vec<String> {
    ["cat", "dog & <script>alert(1)</script>", "lighthouse"].map(str::to_owned).into()
}

fn picture() -> RgbImage {
    RgbImage::from_fn(90, 60, |x, y| Rgb([x as u8 * 2, y as u8 * 3, 90]))
}

/// Views as the generator makes them.
fn views(count: usize, mixed: bool) -> Views {
    let augmix = mixed.then(mint_augment::AugMix::default);
    let config = mint_augment::ViewConfig { size: 16, count, augmix, ..Default::default() };
    let generator = mint_augment::ViewGenerator::new(config).expect("a valid configuration");
    let seed = mint_augment::ViewSeed { seed: 0, image: 0 };
    generator.views(&picture(), seed).expect("the picture has pixels")
}

fn trace() -> Trace {
    let view = |view: usize| ViewTrace {
        entropy: 1.0 - view as f32 / 16.0,
        best: view % 3,
        weight: if view >= 10 { 1.0 } else { 0.0 },
    };
    Trace {
        views: (0..12).map(view).collect(),
        scores: vec![vec![1.0, 2.0, 0.0], vec![2.0, 1.5, 0.0], vec![3.0, 1.0, 0.5]],
        recalled: Some(Recalled {
            blocks: vec![4, 8],
            usage: vec![5, 0, 7, 0],
            steps: vec![vec![vec![(2, 20), (0, 4)], vec![(3, 24)]]],
            answer: vec![vec![2, 0], vec![3, 1]],
        }),
    }
}

fn adapted() -> Outcome {
    let step = |loss, entropy| StepSummary { loss, entropy };
    let steps = vec![step(0.75, 0.8125), step(0.5, 0.5625)];
    Outcome { scores: vec![3.0, 1.0, 0.5], kind: ScoreKind::Logits, steps }
}

/// Without limits.
fn answer(outcome: &Outcome, temperature: f64) -> ExplainedAnswer<'_> {
    ExplainedAnswer { outcome, temperature, limits: OpenWorld::default() }
}

/// A page about one picture.
fn page(views: &Views, methods: Vec<ExplainedMethod<'_>>) -> String {
    let zero_shot = Outcome::logits(vec![1.0, 2.0, 0.0]);
    let mut page = ExplainedPage::new(&names(), &[]);
    page.add(&ExplainedPicture {
        path: "album/a<b>.jpg",
        picture: &picture(),
        views,
        zero_shot: answer(&zero_shot, 1.0),
        methods,
    });
    assert_eq!(page.pictures(), 1);
    page.finish()
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn the_page_says_everything_that_it_is_given() {
    let (outcome, trace) = (adapted(), trace());
    let method = ExplainedMethod { title: "MINT", answer: answer(&outcome, 2.0), trace: &trace };
    let page = page(&views(12, false), vec![method]);
    let share = |scores: &[f32], temperature, class: usize| {
        let outcome = Outcome::logits(scores.to_vec());
        let probabilities = probabilities(&outcome, temperature).expect("logits");
        format!("{:.1} %", 100.0 * probabilities[class])
    };
    // Zero-shot first, then the method; both with their own temperature.
    let zero_shot = share(&[1.0, 2.0, 0.0], 1.0, 1);
    let says_mint = format!("MINT says <strong>cat</strong> ({})", share(&outcome.scores, 2.0, 0));
    let says = page.find("Zero-shot CLIP says <strong>dog").expect("it is said");
    assert!(page[says..].find(&zero_shot).is_some_and(|at| at < 150), "{zero_shot}");
    assert!(says < page.find(&says_mint).expect("it is said"), "{says_mint}");
    // Every class at every stage.
    for scores in &trace.scores {
        for class in 0..3 {
            assert!(page.contains(&share(scores, 2.0, class)), "{scores:?} {class}");
        }
    }
    for text in ["0.7500", "0.8125", "0.5000", "0.5625", "step 2: answer", "start"] {
        assert!(page.contains(text), "{text}");
    }
    // The memory.
    for text in [
        "2 of 4 slots",
        "12 times in all",
        "slot 2: 20 times",
        "slot 0: 4 times",
        "slot 3: 24 times",
        "Level after block 4",
        "slot 1",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // The views: 12 small ones, two of them chosen, 12 rectangles and 12 bars.
    assert!(page.contains("MINT chose 2 of 12 views"), "the sentence");
    assert_eq!(count(&page, "<figure class=\"view chosen\">"), 2);
    assert_eq!(count(&page, "<figure class=\"view\">"), 10);
    assert_eq!(count(&page, "<rect class=\"place\""), 10);
    assert_eq!(count(&page, "<rect class=\"place counts\""), 2);
    assert_eq!(count(&page, "<rect class=\"entropy\""), 10);
    assert_eq!(count(&page, "<rect class=\"entropy counts\""), 2);
    assert!(page.contains("view 11: 0.312 nats"), "the surest view");
    // The clean view is the middle of the picture.
    assert!(page.contains("x=\"15\" y=\"0\" width=\"60\" height=\"60\""), "its rectangle");
    assert!(page.contains("clean: 67 % of the picture"), "the clean view in words");
}

#[test]
fn the_page_asks_for_nothing_and_every_drawing_has_words() {
    let (outcome, trace) = (adapted(), trace());
    let method = ExplainedMethod { title: "MINT", answer: answer(&outcome, 1.0), trace: &trace };
    let page = page(&views(12, false), vec![method]);
    assert!(page.contains("content=\"default-src 'none'; img-src data:; style-src"), "its policy");
    assert!(!page.contains("<script"), "names are text");
    assert!(page.contains("dog &amp; &lt;script&gt;"), "names are shown");
    assert!(page.contains("a&lt;b&gt;.jpg"), "paths are text");
    for part in page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1)) {
        assert!(
            part.starts_with('#') || part.starts_with("data:image/jpeg;base64,/9j/"),
            "{part:.60}"
        );
    }
    assert!(!page.contains("url("), "no style fetches anything");
    let drawings: Vec<&str> = page.split("<svg").skip(1).collect();
    assert_eq!(drawings.len(), 5, "the picture twice, the bars, loss and entropy");
    for drawing in drawings {
        let (opening, rest) = drawing.split_once('>').expect("it ends");
        assert!(opening.contains("role=\"img\"") && opening.contains("aria-label=\""), "{opening}");
        assert!(rest.starts_with("<title>") && !rest.starts_with("<title></title>"), "{opening}");
    }
    for image in page.split("<img").skip(1) {
        let opening = image.split('>').next().expect("it ends");
        assert!(opening.contains(" alt=\"") && !opening.contains(" alt=\"\""), "{opening:.80}");
    }
    // A width in the style would be stronger than that of a drawing.
    let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next());
    for line in style.expect("there is a style").lines() {
        let names_drawn = [".place", ".entropy", ".counts"].iter().any(|name| line.contains(name));
        let sized = line.contains("width: ") && !line.contains("stroke-width: ");
        assert!(!names_drawn || (line.starts_with("svg rect") && !sized), "{line}");
    }
    for part in page.split("<rect class=\"").skip(1) {
        let classes = part.split('"').next().expect("it ends");
        let known = ["place", "place counts", "entropy", "entropy counts", "quiet"];
        assert!(known.contains(&classes), "{classes}");
    }
    // What is referred to is there, once.
    for id in ["pixels-1", "picture-1"] {
        assert_eq!(count(&page, &format!(" id=\"{id}\"")), 1, "{id}");
        assert!(page.contains(&format!("=\"#{id}\"")), "{id}");
    }
}

#[test]
fn votes_are_no_probabilities() {
    let votes = Outcome::votes(vec![1.0, 0.0, 3.0]);
    let trace = Trace { views: trace().views, ..Trace::default() };
    let zero = ExplainedMethod { title: "ZERO", answer: answer(&votes, 1.0), trace: &trace };
    let page = page(&views(12, false), vec![zero]);
    assert!(page.contains("ZERO says <strong>lighthouse</strong> (3.0 of 4 votes)"), "the answer");
    assert!(page.contains("width:4.88rem"), "three quarters of the longest bar");
    assert!(!page.contains("Steps"), "there were none");
    assert!(!page.contains("Memory"), "there is none");
}

#[test]
fn methods_that_weigh_views_or_look_at_one_say_so() {
    let outcome = Outcome::logits(vec![0.0, 1.0, 0.0]);
    let mut weighing = Trace { views: trace().views, ..Trace::default() };
    for (view, seen) in weighing.views.iter_mut().enumerate() {
        seen.weight = if view == 4 { 0.75 } else { 0.25 / 11.0 };
    }
    let method = |trace| ExplainedMethod { title: "MTA", answer: answer(&outcome, 1.0), trace };
    let weighed = page(&views(12, false), vec![method(&weighing)]);
    assert!(weighed.contains("MTA weighs its 12 views"), "the sentence");
    assert!(!weighed.contains("view chosen"), "no view is chosen");
    assert!(
        weighed.contains("dog &amp; &lt;script&gt;alert(1)&lt;/script&gt; (82 %)"),
        "the shares"
    );

    let nothing = Trace::default();
    let clean = page(&views(1, false), vec![method(&nothing)]);
    assert!(!clean.contains("What the methods looked at"), "there is one view");
    assert!(!clean.contains("came to it"), "there is nothing to say");

    let mixed = page(&views(12, true), vec![method(&weighing)]);
    assert!(mixed.contains("mixed by AugMix"), "the sentence");
    assert_eq!(count(&mixed, "<figure class=\"view\">"), 12);
}

#[test]
fn a_page_of_many_pictures_lists_them_below_its_notes() {
    let mut page = ExplainedPage::new(&names(), &[]);
    page.note("The first 2 pictures; 3 more pictures were classified as well.");
    let zero_shot = Outcome::logits(vec![1.0, 2.0, 0.0]);
    for path in ["album/one.jpg", "two.jpg"] {
        page.add(&ExplainedPicture {
            path,
            picture: &picture(),
            views: &views(1, false),
            zero_shot: answer(&zero_shot, 1.0),
            methods: Vec::new(),
        });
    }
    let page = page.finish();
    let order = ["3 more pictures", "#picture-1\">one.jpg", "#picture-2\">two.jpg", "1. one.jpg"];
    let places: Vec<usize> =
        order.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(ExplainedPage::new(&names(), &[]).finish().contains("There are no pictures."));
}

#[test]
fn an_answer_may_be_none_of_the_classes() {
    let says = |scores: &[f32], min_probability, min_margin| {
        let outcome = Outcome::logits(scores.to_vec());
        let limits = OpenWorld { min_probability, min_margin };
        let zero_shot = ExplainedAnswer { outcome: &outcome, temperature: 1.0, limits };
        let none = ["a photo of something else.".to_owned()];
        let mut page = ExplainedPage::new(&names(), &none);
        let views = views(1, false);
        let (path, methods) = ("a.jpg", Vec::new());
        page.add(&ExplainedPicture {
            path,
            picture: &picture(),
            views: &views,
            zero_shot,
            methods,
        });
        let page = page.finish();
        assert!(page.contains("and the texts that stand for none of them"), "what shares are of");
        page.split("CLIP says ")
            .nth(1)
            .and_then(|rest| rest.split("</p>").next())
            .map(str::to_owned)
    };
    let none = "<strong>none of these</strong>: ";
    for (scores, min_probability, min_margin, expected) in [
        ([2.0f32, 0.0, 0.0, 0.0], 0.7, 0.5, "<strong>cat</strong> (71.1 %).".to_owned()),
        (
            [0.0, 0.0, 0.0, 2.0],
            0.0,
            0.0,
            "<strong>none of these: a photo of something else.</strong> (71.1 %).".to_owned(),
        ),
        ([2.0, 0.0, 0.0, 0.0], 0.8, 0.0, format!("{none}cat has 71.1 %, and 80.0 % is the least.")),
        (
            [2.0, 0.0, 1.9, 0.0],
            0.0,
            0.1,
            format!("{none}cat (46.0 %) and lighthouse are nearer than 10.0 %."),
        ),
    ] {
        assert_eq!(says(&scores, min_probability, min_margin), Some(expected), "{scores:?}");
    }
}
