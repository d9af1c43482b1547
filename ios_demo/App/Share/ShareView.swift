import SwiftUI

/// The sheet: the photo's own screen once it is in the vault, or what went wrong.
struct ShareView: View {
    @State var model: ShareModel
    /// Takes the sheet down.
    let finish: () -> Void

    var body: some View {
        NavigationStack {
            VStack {
                if let photo = model.photo {
                    PhotoView(model: photo, finish: finish)
                } else if let failure = model.failure {
                    Text(failure).padding()
                    Button("Close", action: finish)
                } else {
                    ProgressView("Reading the photo")
                }
            }
        }
        .task { await model.load() }
    }
}
