import RIDKit
import SwiftUI

/// The original left of a divider that can be dragged, and the protected photo, or its amplified
/// change, right of it.
struct BeforeAfterView: View {
    let preview: PhotoSession.Preview
    let showsChange: Bool

    /// Place of the divider, 0 (left) to 1.
    @State private var divider = 0.5

    private var aspect: CGFloat {
        CGFloat(preview.before.width) / CGFloat(preview.before.height)
    }

    var body: some View {
        GeometryReader { geometry in
            ZStack(alignment: .leading) {
                picture(showsChange ? preview.change : preview.after)
                picture(preview.before)
                    .mask(alignment: .leading) {
                        Rectangle().frame(width: geometry.size.width * divider)
                    }
                Rectangle()
                    .foregroundStyle(.white)
                    .frame(width: 2)
                    .offset(x: geometry.size.width * divider - 1)
            }
            .gesture(
                DragGesture(minimumDistance: 0).onChanged { drag in
                    divider = min(max(drag.location.x / max(geometry.size.width, 1), 0), 1)
                })
        }
        .aspectRatio(aspect, contentMode: .fit)
        .accessibilityElement()
        .accessibilityLabel(
            showsChange ? "Original and amplified change" : "Original and protected")
        .accessibilityValue("\(Int(divider * 100)) percent original")
        .accessibilityAdjustableAction { direction in
            divider = min(max(divider + (direction == .increment ? 0.1 : -0.1), 0), 1)
        }
    }

    private func picture(_ image: CGImage) -> some View {
        Image(decorative: image, scale: 1)
            .resizable()
            .aspectRatio(aspect, contentMode: .fit)
    }
}
