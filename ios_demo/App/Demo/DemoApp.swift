import SwiftUI

@main
struct DemoApp: App {
    @State private var model = HomeModel()

    var body: some Scene {
        WindowGroup {
            HomeView(model: model)
        }
    }
}
