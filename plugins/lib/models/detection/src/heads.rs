//! The prediction heads of DETR-like detectors.

use cvhost_layers::{Linear, Mlp};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::torch::Scope;
use cvhost_set_prediction::Predictions;
use tch::{Kind, Tensor};

/// `class_labels_classifier` and `bbox_predictor`, applied to each query's state.
pub struct Heads {
    classes: ClassHead,
    boxes: Mlp,
}

enum ClassHead {
    Linear(Linear),
    Mlp(Mlp),
}

impl Heads {
    /// A linear class head (DETR) and an MLP box head in `scope`, for states of width `d`. Weights
    /// are drawn from a normal distribution with standard deviation `std`. `classes` excludes "no
    /// object", which becomes the last class.
    pub fn linear(scope: &Scope, d: i64, classes: i64, std: f64) -> Self {
        let class_scope = scope.sub("class_labels_classifier").tagged(Tags::CLASS_HEAD);
        Heads {
            classes: ClassHead::Linear(Linear::new(&class_scope, d, classes + 1, std)),
            boxes: box_head(scope, d, std),
        }
    }

    /// Like [`Heads::linear`], but the class head is an MLP too (YOLOS).
    pub fn mlp(scope: &Scope, d: i64, classes: i64, std: f64) -> Self {
        let class_scope = scope.sub("class_labels_classifier");
        Heads {
            classes: ClassHead::Mlp(Mlp::new(&class_scope, d, classes + 1, std, Tags::CLASS_HEAD)),
            boxes: box_head(scope, d, std),
        }
    }

    /// States `[N, Q, d]` to class logits `[N, Q, C + 1]` and boxes `[N, Q, 4]`.
    pub fn forward(&self, states: &Tensor) -> Predictions {
        Predictions {
            logits: match &self.classes {
                ClassHead::Linear(head) => head.forward(states),
                ClassHead::Mlp(head) => head.forward(states),
            },
            // In half precision, a sigmoid would round to whole pixels of a large image.
            pred_boxes: self.boxes.forward(states).to_kind(Kind::Float).sigmoid(),
        }
    }
}

fn box_head(scope: &Scope, d: i64, std: f64) -> Mlp {
    Mlp::new(&scope.sub("bbox_predictor"), d, 4, std, Tags::NONE)
}
