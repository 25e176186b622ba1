//! Default values for keys missing from `preprocessor_config.json`, per image processor.

use crate::resize::Resample;
use crate::size::Size;

/// The longest edge implied by a scalar `size` in detector files that predate `longest_edge`.
const OLD_LONGEST: u32 = 1333;
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
const HALVES: [f64; 3] = [0.5; 3];
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// How to interpret a `size` without a longest edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShortestEdge {
    /// The longest edge is limited to this value.
    Bounded(u32),
    /// The longest edge is unlimited.
    Unbounded,
    /// ConvNeXT's rule, with this `crop_pct` unless the file sets one; see [`Size::ConvNext`].
    ConvNext(f64),
}

/// A model family's defaults for missing keys. If the file names a known image processor, that
/// processor's defaults are used instead, so a checkpoint may ship with another family's processor.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// The `image_processor_type` to save if the file has none, e.g. `DetrImageProcessor`.
    pub processor_type: &'static str,
    pub size: Size,
    /// Whether a scalar `size` is the shortest edge; if `false`, it is both height and width.
    pub number_is_shortest_edge: bool,
    pub shortest_edge: ShortestEdge,
    /// Sides computed from a shortest edge are rounded down to a multiple of this: 16 for YOLOS, 1
    /// for none.
    pub multiple: u32,
    /// Resized sides are rounded up to a multiple of the file's `size_divisor`, or of this value if
    /// the file has none. `None`: the processor has no such rule, and the key is ignored.
    pub size_divisor: Option<u32>,
    /// Height and width of the center crop taken after resizing.
    pub center_crop: Option<[u32; 2]>,
    pub resample: Resample,
    pub do_normalize: bool,
    pub do_pad: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// Whether the whole image must stay visible, e.g. because it has boxes: crops are rejected. A
    /// scalar `data.image_size` is then the shortest edge if [`Defaults::number_is_shortest_edge`]
    /// is set, and otherwise both height and width. Always taken from the family.
    pub whole_image: bool,
}

impl Defaults {
    /// DETR and its relatives: shortest edge 800, longest edge 1333, bilinear, ImageNet mean and
    /// standard deviation, padded.
    pub const fn shortest_edge(processor_type: &'static str) -> Self {
        Defaults {
            processor_type,
            size: Size::Edges {
                shortest: 800,
                longest: OLD_LONGEST,
            },
            number_is_shortest_edge: true,
            shortest_edge: ShortestEdge::Bounded(OLD_LONGEST),
            multiple: 1,
            size_divisor: None,
            center_crop: None,
            resample: Resample::Bilinear,
            do_normalize: true,
            do_pad: true,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            whole_image: true,
        }
    }

    /// ViT and many later classifiers: 224×224 regardless of the aspect ratio, bilinear, normalised
    /// to -1..1.
    pub const fn vit() -> Self {
        Defaults {
            processor_type: "ViTImageProcessor",
            size: Size::Exact {
                height: 224,
                width: 224,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            center_crop: None,
            do_pad: false,
            mean: HALVES,
            std: HALVES,
            whole_image: false,
            ..Self::shortest_edge("")
        }
    }

    /// DeiT: 256×256, center crop 224×224, bicubic.
    pub const fn deit() -> Self {
        Defaults {
            processor_type: "DeiTImageProcessor",
            size: Size::Exact {
                height: 256,
                width: 256,
            },
            center_crop: Some([224, 224]),
            resample: Resample::Bicubic,
            ..Self::vit()
        }
    }

    /// ConvNeXT, ResNet and others: ConvNeXT's rule with edge 384, bicubic.
    pub const fn conv_next() -> Self {
        const CROP_PCT: f64 = 224.0 / 256.0;
        Defaults {
            processor_type: "ConvNextImageProcessor",
            size: Size::ConvNext {
                edge: 384,
                crop_pct: CROP_PCT,
            },
            number_is_shortest_edge: true,
            shortest_edge: ShortestEdge::ConvNext(CROP_PCT),
            resample: Resample::Bicubic,
            ..Self::vit()
        }
    }

    /// BiT and, with other sizes in its files, DINOv2: shortest edge 224, center crop 224×224,
    /// bicubic, CLIP mean and standard deviation.
    pub const fn bit() -> Self {
        Defaults {
            processor_type: "BitImageProcessor",
            size: Size::Shortest { edge: 224 },
            number_is_shortest_edge: true,
            center_crop: Some([224, 224]),
            resample: Resample::Bicubic,
            mean: CLIP_MEAN,
            std: CLIP_STD,
            ..Self::vit()
        }
    }

    /// RT-DETR and D-FINE: 640×640 regardless of the aspect ratio, bilinear, neither normalised nor
    /// padded.
    pub const fn rt_detr() -> Self {
        Defaults {
            processor_type: "RTDetrImageProcessor",
            size: Size::Exact {
                height: 640,
                width: 640,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            do_normalize: false,
            do_pad: false,
            ..Self::shortest_edge("")
        }
    }

    /// SegFormer, UPerNet and others: 512×512 regardless of the aspect ratio, bilinear, ImageNet
    /// mean and standard deviation.
    pub const fn segformer() -> Self {
        Defaults {
            processor_type: "SegformerImageProcessor",
            size: Size::Exact {
                height: 512,
                width: 512,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            do_pad: false,
            ..Self::shortest_edge("")
        }
    }

    /// Mask2Former, and MaskFormer with its own processor name: DETR's rule, then both sides
    /// rounded up to a multiple of 32.
    pub const fn mask2former() -> Self {
        Defaults {
            size_divisor: Some(32),
            ..Self::shortest_edge("Mask2FormerImageProcessor")
        }
    }

    /// ViTPose: 256×192 around a box (see [`crate::PoseProcessor`]), ImageNet mean and standard
    /// deviation.
    pub const fn vit_pose() -> Self {
        Defaults {
            processor_type: "VitPoseImageProcessor",
            size: Size::Exact {
                height: 256,
                width: 192,
            },
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            ..Self::vit()
        }
    }

    /// The defaults of the image processor named `processor_type`; `family` are the model family's
    /// own defaults.
    pub(crate) fn of(processor_type: &str, family: &Defaults) -> Defaults {
        let known = match processor_type.trim_end_matches("Fast").trim_end_matches("Pil") {
            "DetrImageProcessor" | "ConditionalDetrImageProcessor" | "DeformableDetrImageProcessor" => {
                Self::shortest_edge("DetrImageProcessor")
            }
            "YolosImageProcessor" => Defaults {
                multiple: 16,
                ..Self::shortest_edge("YolosImageProcessor")
            },
            "ViTImageProcessor" => Self::vit(),
            "DeiTImageProcessor" => Self::deit(),
            "ConvNextImageProcessor" => Self::conv_next(),
            "BitImageProcessor" => Self::bit(),
            "RTDetrImageProcessor" => Self::rt_detr(),
            "SegformerImageProcessor" => Self::segformer(),
            "Mask2FormerImageProcessor" | "MaskFormerImageProcessor" => Self::mask2former(),
            "VitPoseImageProcessor" => Self::vit_pose(),
            _ => return family.clone(),
        };
        Defaults {
            whole_image: family.whole_image,
            ..known
        }
    }
}
